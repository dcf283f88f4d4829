"""Does killing builders at random moments leave a damaged cache entry?

    python benchmarks/cache_kill.py [--kills 60] [--artefact DIR]

Two processes at a time build engines into one small cache (with --artefact real ones with TensorRT-RTX, else files of
random bytes) and are killed after a random time; then every entry is checked against its hashes. Leaves with 1 if any
is damaged.
"""

import argparse
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from evaluators.cache import Cache

LIMIT = 60_000_000
BUILDER = """
import os, sys
from pathlib import Path
from evaluators.cache import Cache
cache = Cache(Path(sys.argv[1]), int(sys.argv[2]))
if sys.argv[3]:
    from evaluators.artefact import load_artefact
    from evaluators.tensorrt.build import BuildOptions, build_plan
    from evaluators.tensorrt.library import find_library
    graph, library = load_artefact(sys.argv[3]).onnx, find_library("tensorrt_rtx")
def build(folder):
    if sys.argv[3]:
        (folder / "engine.plan").write_bytes(build_plan(library, graph, BuildOptions(compute_capability="7.5")).data)
    else:
        for number in range(20):
            (folder / str(number)).write_bytes(os.urandom(500_000))
print("ready", flush=True)
number = 0
while True:
    with cache.entry(f"k{number % 8}", build):
        number += 1
"""


def main() -> int:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--kills", type=int, default=60)
    arguments.add_argument("--artefact", default="")
    asked = arguments.parse_args()
    random.seed(0)
    damaged = 0
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "cache"
        for _ in range(0, asked.kills, 2):
            command = [sys.executable, "-c", BUILDER, str(folder), str(LIMIT), asked.artefact]
            builders = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(2)]
            for builder in builders:
                assert builder.stdout is not None and builder.stdout.readline()
            for builder in builders:
                time.sleep(random.uniform(0, 1.5 if asked.artefact else 0.3))
                builder.kill()
                builder.communicate()
            damaged += len(Cache(folder, LIMIT).damaged())
        entries = len(Cache(folder, LIMIT).keys())
        litter = len(list((folder / ".building").iterdir()))
    print(
        f"{asked.kills} kills in {time.perf_counter() - start:.0f} s: {damaged} damaged entries; at the end {entries} "
        f"entries, {litter} folders of dead builders to sweep"
    )
    return 1 if damaged else 0


if __name__ == "__main__":
    sys.exit(main())
