"""`import-upstream`: a checkpoint of the reference implementation as weights of ours.

torch is imported when the command runs, not when its help is shown.
"""

import json
from pathlib import Path

import click

from foundation.cli import PathOption, json_option, print_json, progress
from foundation.errors import UserError


@click.command("import-upstream", short_help="Read a checkpoint of YOLOv6 0.2.x.")
@click.argument("checkpoint", metavar="FILE.pt", type=PathOption())
@click.option("--out", required=True, metavar="FILE.safetensors", type=PathOption())
@json_option
def import_command(checkpoint: Path, out: Path, as_json: bool) -> None:
    """Read a checkpoint of YOLOv6 0.2.x (N, T, S, M, L-ReLU, L) without running its code.

    The result is the training form in float32, with the variant, the number of classes and the candidate in
    its metadata; it gives the same outputs as the upstream model. Any number of classes, trained or folded.

    \b
    Examples:
      python -m yolov6space import-upstream yolov6n.pt --out yolov6n.safetensors
      python -m yolov6space import-upstream best_ckpt.pt --out mine.safetensors --json
    """
    from safetensors.torch import save_file

    from yolov6space.networks.upstream_weights import import_checkpoint

    if not out.parent.is_dir():
        raise UserError(f"--out: there is no folder {out.parent}; create it first")
    progress(f"reading {checkpoint} (nothing in it is run)")
    imported = import_checkpoint(checkpoint)
    candidate, classes = imported.candidate, imported.detector.num_classes
    metadata = {
        "variant": imported.variant,
        "num_classes": str(classes),
        "candidate": json.dumps(candidate.to_dict()),
        "source_form": "folded" if imported.folded else "training",
    }
    save_file(imported.detector.state_dict(), out, metadata)
    if as_json:
        print_json(
            {
                "out": str(out),
                "variant": imported.variant,
                "num_classes": classes,
                "source_form": metadata["source_form"],
                "key": candidate.key,
                "candidate": candidate.to_dict(),
            }
        )
    else:
        click.echo(f"{imported.variant}, {classes} classes, from {metadata['source_form']} form -> {out}")
