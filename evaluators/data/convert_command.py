"""`python -m evaluators data convert`: YOLO and Pascal VOC annotations as COCO JSON."""

from pathlib import Path

import click

from foundation.cli import PathOption, json_option, print_json, progress

EXAMPLES = """\b
Examples:
  python -m evaluators data convert --from yolo --source my_yolo/data.yaml --out my_data
  python -m evaluators data convert --from voc --source VOCdevkit/VOC2012 --out voc
  python -m evaluators data check --data my_data/data.yaml
"""


@click.command(name="convert", short_help="Write YOLO or Pascal VOC annotations as COCO.", epilog=EXAMPLES)
@click.option(
    "--from", "kind", type=click.Choice(["yolo", "voc"]), required=True, help="Format of the source."
)
@click.option(
    "--source",
    required=True,
    type=PathOption(),
    help="YOLO: data.yaml, or its folder. Pascal VOC: a folder.",
)
@click.option("--out", required=True, type=PathOption(), help="Folder to write.")
@json_option
def convert_command(kind: str, source: Path, out: Path, as_json: bool) -> None:
    """Write annotations as COCO JSON, and a data.yaml to give to --data. Images stay where they are.

    One malformed line or file ends it: nothing is left out silently.
    """
    from evaluators.data.convert import convert

    yaml_file, data = convert(kind, source, out)
    for line in data.notes:
        progress(f"note: {line}")
    splits = {
        split: {"images": len(images), "boxes": sum(len(image.boxes) for image in images)}
        for split, images in data.splits.items()
    }
    if as_json:
        result = {"data": str(yaml_file), "classes": list(data.class_names), "splits": splits}
        print_json({**result, "notes": list(data.notes)})
        return
    for split, count in splits.items():
        click.echo(f"{split}: {count['images']} images, {count['boxes']} boxes")
    click.echo(f"{len(data.class_names)} classes; use it with --data {yaml_file}")
