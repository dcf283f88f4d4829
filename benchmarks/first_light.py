"""The bars of the first release, measured as a user would see them; every figure is printed with its protocol.

python benchmarks/first_light.py make-search             # clean clone, make setup, make search (15 min)
python benchmarks/first_light.py search --data DIR --time-budget 25m --target-latency 8.8ms
python benchmarks/first_light.py help                    # start-up time of --help
python benchmarks/first_light.py interrupt --times 6     # kill at random moments, then finish
"""

import json
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click

ROOT = Path(__file__).parents[1]
TINY_SPACE = (
    "extends: default\ndimensions: {width: [0.125], depth: [0.1], backbone.*.depth: 0.5, neck.depth: 0.25}\n"
)


@click.group()
def main() -> None:
    """Bars of the first release."""


@main.command("make-search")
def make_search() -> None:
    """`make search` on a clean clone; then the best network again in a new process."""
    with tempfile.TemporaryDirectory(prefix="first-light-") as temporary:
        clone = Path(temporary) / "clone"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        started = time.monotonic()
        subprocess.run(["make", "setup"], cwd=clone, check=True)
        installed = time.monotonic()
        subprocess.run(["make", "search"], cwd=clone, check=True)
        ended = time.monotonic()
        click.echo(
            f"make setup: {installed - started:.0f} s; make search: {(ended - installed) / 60:.1f} min"
        )
        _export(clone, ".venv/bin/python", ["--best-under", "8.8ms"])


@main.command()
@click.option("--data", required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--time-budget", default="25m")
@click.option("--target-latency", default="8.8ms")
@click.option("--keep", type=click.Path(path_type=Path), help="Folder to work in and keep.")
@click.option("--test-split", is_flag=True, help="Report AP on the test split, once, at the very end.")
def search(data: Path, time_budget: str, target_latency: str, keep: Path | None, test_split: bool) -> None:
    """A search on a data set; the best exported and judged again from disk."""
    place = keep or Path(tempfile.mkdtemp(prefix="first-light-"))
    place.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "search.run", "--target-latency", target_latency, "--json"]
    started = time.monotonic()
    done = subprocess.run(
        [*command, "--data", str(data.resolve()), "--time-budget", time_budget],
        cwd=place,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    result: dict[str, Any] = json.loads(done.stdout)
    click.echo(f"search: {(time.monotonic() - started) / 60:.1f} min; trials: {result['counts']}")
    front = sorted(
        (one for one in result["trials"] if one["on_front"]), key=lambda one: one["latency"]["median_ms"]
    )
    for one in front:
        accuracy, latency = one["accuracy"]["deployed"], one["latency"]
        click.echo(
            f"front: AP {accuracy['AP']:.3f} AP50 {accuracy['AP50']:.3f} after {accuracy['epochs']:.0f} epochs, "
            f"{latency['median_ms']:.2f} ms ({latency['low_ms']:.2f} to {latency['high_ms']:.2f}), "
            f"{one['precision']}, {one['name']}"
        )
    _export(place, sys.executable, ["--study", result["study"], "--best-under", target_latency])
    if test_split:
        arguments = ["--artefact", "exported", "--data", str(data.resolve()), "--split", "test", "--json"]
        judged = subprocess.run(
            [sys.executable, "-m", "evaluators", "accuracy", *arguments],
            cwd=place,
            capture_output=True,
            text=True,
            check=True,
        )
        figures = json.loads(judged.stdout)["figures"]
        click.echo(f"test split: AP {figures['AP']:.3f} AP50 {figures['AP50']:.3f}")
    click.echo(f"kept in {place}")


@main.command("help")
def help_time() -> None:
    """Wall time of `--help`, median of seven."""
    for module in (
        "search.run",
        "search.export",
        "search.variants",
        "yolov6space",
        "evaluators",
        "storage",
        "dashboard",
    ):
        times = []
        for _ in range(7):
            started = time.perf_counter()
            subprocess.run([sys.executable, "-m", module, "--help"], capture_output=True, check=True)
            times.append(time.perf_counter() - started)
        click.echo(f"python -m {module} --help: {statistics.median(times):.2f} s")


@main.command()
@click.option("--times", default=6)
@click.option("--seed", default=0)
def interrupt(times: int, seed: int) -> None:
    """Kill a search of tiny networks at random moments with INT, TERM or KILL; then let it finish."""
    rng = random.Random(seed)
    place = Path(tempfile.mkdtemp(prefix="first-light-"))
    (place / "tiny.yaml").write_text(TINY_SPACE)
    command = [
        *(
            sys.executable,
            "-m",
            "search.run",
            "--target-latency",
            "50ms",
            "--image-size",
            "64",
            "--epochs",
            "1",
        ),
        *("--trials", "6", "--fixed-trials", "none", "--space", "tiny.yaml", "--study", "killed", "--json"),
    ]
    seen: dict[str, Any] = {}
    for _ in range(times):
        process = subprocess.Popen(command, cwd=place, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        moment = rng.uniform(5, 70)
        how = rng.choice([signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
        try:
            process.wait(moment)
            click.echo("ended by itself")
        except subprocess.TimeoutExpired:
            process.send_signal(how)
            process.wait(120)
            click.echo(f"{how.name} after {moment:.0f} s")
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=True)
    result = json.loads(done.stdout)
    keys = [one["candidate"] for one in result["trials"]]
    lost = [key for key in seen if key not in keys]
    click.echo(
        f"{len(keys)} trials, {len(keys) - len(set(keys))} repeated, {len(lost)} lost, "
        f"{result['counts']['running']} left running, {result['counts']['failed']} failed"
    )
    shutil.rmtree(place)


def _export(place: Path, python: str, arguments: list[str]) -> None:
    done = subprocess.run(
        [python, "-m", "search.export", *arguments, "--out", "exported", "--json"],
        cwd=place,
        capture_output=True,
        text=True,
        check=False,
    )
    click.echo(done.stderr.strip())
    checked = json.loads(done.stdout)[0]["verification"]
    click.echo(
        f"again in a new process: AP {checked['ap']:.4f} (stored {checked['ap_stored']:.4f}), "
        f"{checked['median_ms']:.2f} ms ({checked['low_ms']:.2f} to {checked['high_ms']:.2f}), "
        f"{'passed' if checked['passed'] else 'FAILED'}"
    )


if __name__ == "__main__":
    main()
