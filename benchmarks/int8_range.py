"""What the range of int8 weights costs on this CPU: AP in float, with the whole range and with half of it.

    python benchmarks/int8_range.py NETWORK... --data DIR

NETWORK: folders as `search.train` and `search.export` write them. Each is quantized twice (PTQ) and judged on the val
split through its OpenVINO engine. On x86 CPUs without VNNI or AMX the whole range overflows (docs/latency.md).
"""

import dataclasses
import sys
import tempfile
from pathlib import Path

import click

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from foundation.cli import json_option, print_json, run


@click.command(help=__doc__)
@click.argument("networks", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--data", required=True, help="Data set that the networks learned from.")
@json_option
def main(networks: tuple[Path, ...], data: str, as_json: bool) -> None:
    from evaluators.accuracy import Engine, judge
    from evaluators.accuracy.torch_engine import torch_engine_of
    from evaluators.artefact import build_artefact, load_artefact
    from evaluators.data import load_data
    from evaluators.devices import overflows_int8
    from evaluators.hardware import resolve_hardware
    from evaluators.latency import open_engine
    from search.deploying import calibration_images
    from search.training import load_detector
    from yolov6space.candidate import Precision

    loaded, cpu = load_data(data), resolve_hardware("cpu")
    val, rows = loaded.split("val"), []
    for folder in networks:
        source = load_artefact(folder)
        size, names = source.meta.image_size, source.meta.class_names
        candidate = dataclasses.replace(source.candidate, precision=Precision.of("int8"))
        detector = load_detector(candidate.model, len(names), source.weights)
        images = calibration_images(loaded, size, 1)

        def ap(engine: Engine, size: int = size) -> float | None:
            found: float | None = judge(engine, val, image_size=size).figures.to_dict()["AP"]
            return found

        row: dict[str, object] = {"network": str(folder), "float": ap(torch_engine_of(source))}
        for name, half in (("whole range", False), ("half range", True)):
            with tempfile.TemporaryDirectory() as temporary:
                artefact = build_artefact(
                    candidate,
                    detector,
                    class_names=names,
                    image_size=size,
                    folder=Path(temporary) / "artefact",
                    calibration=images,
                    half_weights=half,
                )
                with open_engine(artefact, cpu) as engine:
                    row[name] = ap(engine)
        rows.append(row)
        if not as_json:
            click.echo(", ".join(f"{key} {value}" for key, value in row.items()))
    if as_json:
        print_json({"overflows": overflows_int8(cpu), "rows": rows})


if __name__ == "__main__":
    run(main, "python benchmarks/int8_range.py")
