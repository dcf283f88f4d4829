"""`python -m evaluators`: judge a network from the command line."""

import click

from foundation.cli import LazyGroup, run


@click.group(
    epilog="Example: python -m evaluators latency --model YOLOv6-N --hardware cpu --image-size 320",
    cls=LazyGroup,
    commands={
        "latency": "evaluators.latency.command:latency_command",
        "compare": "evaluators.latency.compare_command:compare_command",
        "calibrate": "evaluators.estimate.command:calibrate_command",
        "accuracy": "evaluators.accuracy.command:accuracy_command",
        "agreement": "evaluators.accuracy.agreement_command:agreement_command",
        "compile": "evaluators.tensorrt.command:compile_command",
        "data": "evaluators.data.command:data_command",
    },
)
def evaluators() -> None:
    """What a network is worth on a device."""


if __name__ == "__main__":
    run(evaluators, "python -m evaluators")
