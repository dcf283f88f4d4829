"""Kill a training at random moments and go on, again and again: the weights must be those of the unbroken run.

    python benchmarks/kill_training.py [--kills 20] [--epochs 30] [--amp auto] [--repopt] [--processes 1] [--seed 0]

Trains a tiny network on drawn squares in a process of its own, which is killed with SIGKILL at moments drawn
uniformly from the time a whole run takes, so that some fall into starting and some into writing a checkpoint. A run
that was faster than its kill is compared, and the next one begins, until all kills are used up.
"""

import hashlib
import multiprocessing
import random
import sys
import tempfile
import time
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path

import click

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from foundation.cli import json_option, print_json, progress, run
from foundation.errors import WorkFailedError

WEIGHTS = "weights.safetensors"


@click.command(help=__doc__)
@click.option("--kills", type=int, default=20, show_default=True)
@click.option("--epochs", type=int, default=30, show_default=True)
@click.option("--amp", default="auto", show_default=True)
@click.option(
    "--repopt", is_flag=True, help="A RepOptimizer network: kills may fall into its search for scales."
)
@click.option("--processes", type=int, default=1, show_default=True, help="That share every batch.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the moments.")
@json_option
def main(kills: int, epochs: int, amp: str, repopt: bool, processes: int, seed: int, as_json: bool) -> None:
    moments = random.Random(seed)
    # Forked from a server that has imported everything, so that kills hit training and not imports.
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["search.training", "cv2"])

    def start(folder: Path) -> BaseProcess:
        process = server.Process(target=_train, args=(folder, epochs, amp, repopt, processes))
        process.start()
        return process

    def finish(folder: Path) -> str:
        process = start(folder)
        process.join()
        if process.exitcode:
            raise WorkFailedError("the training process failed")
        return _digest(folder / WEIGHTS)

    with tempfile.TemporaryDirectory(prefix="kill-") as temporary:
        root = Path(temporary)
        _draw(root / "data")
        finish(root / "first")  # starts the server
        started = time.perf_counter()
        expected = finish(root / "unbroken")
        whole = time.perf_counter() - started
        progress(f"unbroken: {whole:.1f} s")
        killed = runs = wrong = 0
        while killed < kills:
            folder = root / f"run{runs}"
            while killed < kills:
                process = start(folder)
                process.join(timeout=moments.uniform(0, whole))
                if not process.is_alive():
                    break
                process.kill()
                process.join()
                killed += 1
                at = "with" if list(folder.rglob("checkpoint.pt")) else "before"
                progress(f"kill {killed} of {kills}, {at} a checkpoint")
            runs += 1
            same = finish(folder) == expected
            wrong += not same
            progress(
                f"run {runs} ended after {killed} kills in all, with {'the same' if same else 'other'} weights"
            )
    result = {"kills": killed, "runs": runs, "runs_with_other_weights": wrong, "seconds_unbroken": whole}
    if as_json:
        print_json(result)
    else:
        click.echo(f"{killed} kills in {runs} runs: {runs - wrong} of {runs} ended with the same weights")
    if wrong:
        raise WorkFailedError(f"{wrong} of {runs} runs ended with other weights")


def _digest(weights: Path) -> str:
    """Of names and numbers; the bytes of a safetensors file also depend on the order of its remarks."""
    from safetensors.numpy import load_file

    found = hashlib.sha256()
    for name, tensor in sorted(load_file(weights).items()):
        found.update(name.encode() + tensor.tobytes())
    return found.hexdigest()


def _draw(folder: Path) -> None:
    """Pictures of 96 x 96 with one bright square each, in COCO layout."""
    import json

    import cv2
    import numpy as np

    generator = np.random.default_rng(0)
    (folder / "annotations").mkdir(parents=True)
    for split, count in (("train", 40), ("val", 1)):
        (folder / "images" / split).mkdir(parents=True)
        images, annotations = [], []
        for image in range(1, count + 1):
            picture = generator.integers(60, 120, (96, 96, 3), dtype=np.uint8)
            side = int(generator.integers(16, 48))
            x, y = (int(value) for value in generator.integers(0, 96 - side, 2))
            picture[y : y + side, x : x + side] = 230
            cv2.imwrite(str(folder / "images" / split / f"{image}.png"), picture)
            images.append({"id": image, "file_name": f"{image}.png", "width": 96, "height": 96})
            box = {"bbox": [x, y, side, side], "area": side * side, "iscrowd": 0}
            annotations.append({"id": image, "image_id": image, "category_id": 1, **box})
        document = {
            "images": images,
            "annotations": annotations,
            "categories": [{"id": 1, "name": "square"}],
        }
        (folder / "annotations" / f"instances_{split}.json").write_text(json.dumps(document))


def _train(folder: Path, epochs: int, amp: str, repopt: bool, processes: int) -> None:
    from evaluators.data import load_data
    from search.parallel import train_in_processes
    from search.training import TrainingOptions, train
    from yolov6space.candidate import Candidate
    from yolov6space.variants import scaled_model

    model = scaled_model(width=0.125, depth=0.1, conv="repopt" if repopt else "repvgg")
    options = TrainingOptions(
        epochs=epochs, image_size=96, batch=8, threads=1, amp=amp, workers=2, checkpoint_seconds=0.1
    )
    training = partial(
        train, Candidate(model=model), load_data(folder.parent / "data"), options, folder=folder
    )
    if processes == 1:
        training()
    else:
        train_in_processes(training, processes=processes, device="cpu", on_progress=lambda now: None)


if __name__ == "__main__":
    run(main, "python benchmarks/kill_training.py")
