"""`python -m yolov6space`: look at the design space and its networks from the command line."""

import click

from foundation.cli import LazyGroup, run


@click.group(
    epilog="Example: python -m yolov6space describe YOLOv6-N",
    cls=LazyGroup,
    commands={
        "list": "yolov6space.describe:list_command",
        "describe": "yolov6space.describe:describe_command",
        "import-upstream": "yolov6space.networks.upstream:import_command",
    },
)
def yolov6space() -> None:
    """The YOLOv6 design space: its named networks, what they cost, and upstream weights."""


if __name__ == "__main__":
    run(yolov6space, "python -m yolov6space")
