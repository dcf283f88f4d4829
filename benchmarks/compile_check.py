"""Do the official variants compile for a Tesla T4 with NVIDIA's own compiler, in every precision? Needs no GPU.

    python benchmarks/compile_check.py [--image-size 640] [--variants N,T] [--compute-capability 7.5]

Prints one line per engine: what the compiler needed, and how large the engine is. Leaves with 1 if one is refused.
"""

import argparse
import dataclasses
import sys
import tempfile
import time
from pathlib import Path

from evaluators.artefact import untrained_artefact
from evaluators.tensorrt.compile_check import compile_artefact
from foundation.errors import WorkFailedError
from yolov6space.candidate import Precision
from yolov6space.variants import official

PRECISIONS = {
    "fp16": Precision.of("fp16"),
    "int8": Precision.of("int8"),
    "int8 +6 float": Precision(kind="int8", scheme="ptq", float_layers=6, metric="mse"),
}


def main() -> int:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--image-size", type=int, default=640)
    arguments.add_argument("--compute-capability", default="7.5")
    arguments.add_argument("--variants", help="Only those whose names end so, such as N,T.")
    asked = arguments.parse_args()
    endings = asked.variants.split(",") if asked.variants else None
    refused = engines = 0
    start = time.perf_counter()
    for name, candidate in official().items():
        if endings and not any(name.endswith(f"-{ending}") for ending in endings):
            continue
        for label, precision in PRECISIONS.items():
            engines += 1
            refused += not compiles(name, label, dataclasses.replace(candidate, precision=precision), asked)
    print(
        f"{engines - refused} of {engines} engines built in {time.perf_counter() - start:.0f} s, graphs included"
    )
    return 1 if refused else 0


def compiles(name: str, label: str, candidate, asked) -> bool:  # noqa: ANN001
    """Build one engine and print what came of it."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        artefact = untrained_artefact(
            candidate,
            num_classes=80,
            image_size=asked.image_size,
            folder=Path(folder) / "artefact",
            float_format="fp16",
        )
        graph_s = time.perf_counter() - start
        try:
            record = compile_artefact(
                artefact.folder, capability=asked.compute_capability, library="tensorrt_rtx"
            )
        except WorkFailedError as error:
            print(f"{name:16} {label:14} REFUSED: {error}", flush=True)
            return False
    print(
        f"{name:16} {label:14} graph {graph_s:6.1f} s, engine {record['build_seconds']:6.1f} s, "
        f"{record['size_bytes'] / 2**20:7.1f} MiB",
        flush=True,
    )
    return True


if __name__ == "__main__":
    sys.exit(main())
