"""What inherited weights say of a training: rank correlation over candidates of the default space.

    python benchmarks/shared_rung.py --data DIR --out DIR [--shared-epochs 60] [--candidates 12] [--epochs 16]

Trains the shared network, judges candidates with the weights they inherit, and trains each of them from scratch. Prints
both APs, and Spearman's correlation of the AP after training with that of inherited weights, with FLOPs and with
parameters, all known before training. Float networks in PyTorch on the val split. The same command goes on where it
was killed.
"""

import dataclasses
import json
import random
import sys
import time
from pathlib import Path
from typing import Any

import click
from scipy.stats import spearmanr

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from foundation.cli import json_option, print_json, progress, run


@click.command(help=__doc__)
@click.option("--data", required=True, help="Data set with splits train and val.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Weights and results go here.")
@click.option(
    "--max-gflops", default=1.5, show_default=True, help="Of a forward pass, the dearest candidate."
)
@click.option("--shared-epochs", default=60, show_default=True)
@click.option("--candidates", default=12, show_default=True)
@click.option("--epochs", default=16, show_default=True, help="Of training from scratch.")
@click.option("--image-size", default=192, show_default=True)
@click.option("--batch", default=8, show_default=True)
@click.option("--threads", default=1, show_default=True)
@click.option("--seed", default=0, show_default=True)
@json_option
def main(
    data: str,
    out: Path,
    max_gflops: float,
    shared_epochs: int,
    candidates: int,
    epochs: int,
    image_size: int,
    batch: int,
    threads: int,
    seed: int,
    as_json: bool,
) -> None:
    from evaluators.accuracy import TorchEngine, judge
    from evaluators.data import load_data
    from search.training import TrainingOptions, TrainingProgress, load_detector, train
    from search.training.sharing import SharedNetwork, train_shared
    from yolov6space.cost import cost
    from yolov6space.sharing import Sharing
    from yolov6space.space import Space

    space, loaded = Space.default(), load_data(data)
    sharing = Sharing(space, len(loaded.class_names), image_size, max_gflops, seed)
    options = TrainingOptions(
        epochs=shared_epochs, image_size=image_size, batch=batch, seed=seed, threads=threads
    )
    told = [0.0]

    def tell(now: TrainingProgress) -> None:
        if time.monotonic() - told[0] > 30:
            told[0] = time.monotonic()
            progress(now.line())

    weights, record = out / "shared" / "weights.safetensors", out / "shared.json"
    if not record.exists():
        trained = train_shared(sharing, loaded, options, folder=weights.parent, on_progress=tell)
        record.write_text(json.dumps({"seconds": trained.seconds, "losses": dict(trained.losses)}))
    shared = SharedNetwork(sharing, weights, loaded, options)
    rng, rows = random.Random(seed + 1), []
    while len(rows) < candidates:
        candidate = space.sample(rng)
        if sharing.gflops(candidate.model) > max_gflops or not shared.covers(candidate.model):
            continue
        file = out / f"{candidate.key}.json"
        row: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
        if not row:
            started = time.monotonic()
            inherited = TorchEngine(shared.detector(candidate.model), 1)
            known = judge(inherited, shared.judged_split(), image_size=image_size).figures.to_dict()
            judged = time.monotonic() - started
            alone = dataclasses.replace(options, epochs=epochs)
            made = train(candidate, loaded, alone, folder=out / candidate.key, on_progress=tell)
            detector = load_detector(candidate.model, len(loaded.class_names), made.weights)
            found = judge(TorchEngine(detector, 1), loaded.split("val"), image_size=image_size)
            price = cost(candidate.model, num_classes=len(loaded.class_names), image_size=image_size)
            row = {
                "label": candidate.label,
                "gflops": price.flops / 1e9,
                "params_m": price.params / 1e6,
                "shared_ap": known["AP"],
                "shared_ap50": known["AP50"],
                "shared_seconds": judged,
                "ap": found.figures.to_dict()["AP"],
                "seconds": made.seconds,
            }
            file.write_text(json.dumps(row))
        rows.append(row)
        progress(
            f"{len(rows)}/{candidates} {row['label']}: {row['gflops']:.2f} GFLOPs, AP {row['shared_ap']:.4f} shared "
            f"({row['shared_seconds']:.0f} s), {row['ap']:.4f} trained ({row['seconds']:.0f} s)"
        )
    result = {"shared": json.loads(record.read_text()), "rows": rows, "spearman": _correlations(rows)}
    if as_json:
        print_json(result)
        return
    click.echo(f"shared network: {result['shared']['seconds']:.0f} s of training")
    for name, value in result["spearman"].items():
        click.echo(f"Spearman of AP after {epochs} epochs with {name}: {value:.2f} ({len(rows)} candidates)")


def _correlations(rows: list[dict[str, Any]]) -> dict[str, float]:
    ap = [row["ap"] for row in rows]
    names = ("shared_ap", "shared_ap50", "gflops", "params_m")
    return {name: float(spearmanr(ap, [row[name] for row in rows]).statistic) for name in names}


if __name__ == "__main__":
    run(main, "python benchmarks/shared_rung.py")
