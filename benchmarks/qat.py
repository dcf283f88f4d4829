"""What int8 costs a trained network and how much of it QAT brings back, each through the engine that is deployed.

    python benchmarks/qat.py --data DIR --network FOLDER [--epochs 5] [--seeds 3] [--setting NAME ...] [--split val ...]

FOLDER is an artefact (OUT/network of search.train, or an export). All settings have its float weights and are judged by
one engine (conf 0.03, NMS IoU 0.65, 300 detections); int8 takes its ranges from the same 32 training images:

    float          float32
    longer         float32, trained on for as many epochs at the rate of QAT: what more training alone does
    ptq            int8 by PTQ
    partial-ptq    the same with --float-layers in float, the most sensitive by MSE
    qat            int8 by QAT, no teacher
    qat-channel    int8 by QAT with channel-wise distillation
    qat-full       int8 by QAT with channel-wise distillation and that of scores and boxes
    partial-qat    qat-channel with --float-layers in float
"""

import dataclasses
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from foundation.cli import json_option, print_json, progress, run

if TYPE_CHECKING:
    from evaluators.artefact import Artefact
    from evaluators.data import DetectionData
    from search.training import TrainingOptions
    from yolov6space.candidate import Precision

DISTILLATION = {
    "qat": "none",
    "qat-channel": "channel-wise",
    "qat-full": "full",
    "partial-qat": "channel-wise",
}
SETTINGS = ("float", "longer", "ptq", "partial-ptq", *DISTILLATION)


@click.command(help=__doc__)
@click.option("--data", "source", required=True, help="COCO-format folder with splits train and val.")
@click.option("--network", required=True, type=click.Path(path_type=Path, file_okay=False), help="See above.")
@click.option("--setting", "settings", multiple=True, type=click.Choice(SETTINGS), help="[default: all]")
@click.option("--epochs", type=int, default=5, show_default=True, help="Of fine-tuning.")
@click.option("--lr", type=float, help="Peak learning rate of fine-tuning. [default: that of search.qat]")
@click.option("--batch", type=int, default=8, show_default=True)
@click.option("--float-layers", type=int, default=6, show_default=True, help="Of the partial settings.")
@click.option("--seeds", type=int, default=1, show_default=True, help="Fine-tunings, each with another seed.")
@click.option("--threads", type=int, help="[default: all cores]")
@click.option("--split", "splits", multiple=True, default=("val",), show_default=True, help="To judge on.")
@json_option
def main(
    source: str,
    network: Path,
    settings: tuple[str, ...],
    epochs: int,
    lr: float | None,
    batch: int,
    float_layers: int,
    seeds: int,
    threads: int | None,
    splits: tuple[str, ...],
    as_json: bool,
) -> None:
    from evaluators.accuracy import PAPER
    from evaluators.artefact import load_artefact
    from evaluators.data import load_data
    from search.deploying import CALIBRATION_IMAGES
    from search.options import QAT_LR
    from search.training import TrainingOptions

    data, artefact = load_data(source), load_artefact(network)
    judged = [data.split(split) for split in splits]
    options = TrainingOptions(
        epochs=epochs,
        image_size=artefact.meta.image_size,
        batch=batch,
        lr=lr or QAT_LR,
        threads=threads,
    )
    protocol = {
        "data": data.name,
        "images": {each.name: len(each) for each in judged},
        "image_size": options.image_size,
        "epochs": epochs,
        "lr": options.lr,
        "train_batch": batch,
        "float_layers": float_layers,
        "calibration_images": CALIBRATION_IMAGES,
        **PAPER.to_dict(),
    }
    if not as_json:
        click.echo(f"{network}: {', '.join(f'{name} {value}' for name, value in protocol.items())}")
    results = []
    for setting in settings or SETTINGS:
        for result in _results(setting, artefact, data, splits, options, float_layers, seeds):
            results.append(result)
            if not as_json:
                figures = (
                    f"{split} AP {each['AP']:.4f} AP50 {each['AP50']:.4f}"
                    for split, each in result["figures"].items()
                )
                click.echo(
                    f"{setting:12} seed {result['seed']}: {', '.join(figures)}"
                    + (f", {result['steps']} steps, {result['seconds']:.0f} s" if result["steps"] else "")
                )
    if as_json:
        print_json({"protocol": protocol, "results": results})


def _results(
    setting: str,
    artefact: "Artefact",
    data: "DetectionData",
    splits: tuple[str, ...],
    options: "TrainingOptions",
    float_layers: int,
    seeds: int,
) -> Iterator[dict[str, Any]]:
    """One a seed where something is trained, else one."""
    from evaluators.accuracy import judge
    from evaluators.artefact import build_artefact
    from evaluators.latency import open_engine, resolve_hardware
    from evaluators.quantization.fine_tuned import load_quantized
    from search.deploying import calibration_images
    from search.training import fine_tune, load_detector, train
    from yolov6space.candidate import Precision

    learns = setting in DISTILLATION or setting == "longer"
    precision = _precision(setting, float_layers)
    candidate = dataclasses.replace(artefact.candidate, precision=precision)
    images = calibration_images(data, options.image_size, 1)
    weights, quantized, trained = artefact.weights, None, None
    for seed in range(seeds if learns else 1):
        own = dataclasses.replace(options, seed=seed)
        with tempfile.TemporaryDirectory(prefix="qat-") as temporary:
            folder = Path(temporary)
            if setting in DISTILLATION:
                trained = fine_tune(
                    candidate,
                    data,
                    own,
                    folder=folder / "run",
                    weights=artefact.weights,
                    calibration=images,
                    distillation=DISTILLATION[setting],
                    on_progress=_tell,
                )
                quantized = load_quantized(candidate.model, len(data.class_names), trained.weights)
            elif setting == "longer":
                trained = train(
                    dataclasses.replace(candidate, precision=Precision()),
                    data,
                    dataclasses.replace(own, amp="off"),
                    folder=folder / "run",
                    init_weights=artefact.weights,
                    on_progress=_tell,
                )
                weights = trained.weights
            built = build_artefact(
                candidate,
                load_detector(candidate.model, len(data.class_names), weights),
                class_names=data.class_names,
                image_size=options.image_size,
                folder=folder / "artefact",
                calibration=images if precision.scheme == "ptq" else None,
                quantized=quantized,
            )
            with open_engine(built, resolve_hardware("cpu")) as engine:
                figures = {
                    split: judge(engine, data.split(split), image_size=options.image_size).figures
                    for split in splits
                }
        yield {
            "setting": setting,
            "seed": seed,
            "figures": {name: {"AP": each.AP, "AP50": each.AP50} for name, each in figures.items()},
            "steps": trained.steps if trained else 0,
            "seconds": trained.seconds if trained else 0.0,
            "losses": dict(trained.losses) if trained else {},
            "float_layers": built.meta.float_layers,
        }


def _precision(setting: str, float_layers: int) -> "Precision":
    from yolov6space.candidate import Precision

    if setting in ("float", "longer"):
        return Precision()
    scheme = "qat" if setting in DISTILLATION else "ptq"
    kept = float_layers if setting.startswith("partial") else 0
    return Precision(kind="int8", scheme=scheme, float_layers=kept, metric="mse" if kept else None)


def _tell(now: Any) -> None:
    if now.step == now.steps or now.step % max(1, now.steps // 5) == 0:
        progress(now.line())


if __name__ == "__main__":
    run(main, "python benchmarks/qat.py")
