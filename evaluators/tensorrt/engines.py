"""Engines from the cache, or built into it: the one place that ties graph, compiler and cache together.

An entry holds `engine.plan`, `build.json` (`EngineRecord`) and, where a GPU was there to read it back,
`inspection.json`, the output of the engine inspector.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from evaluators.cache import Cache, default_cache
from evaluators.tensorrt.build import BuildOptions, build_plan, make_logger
from evaluators.tensorrt.library import Library
from evaluators.tensorrt.precision import asked_formats, compare, real_formats

PLAN, RECORD, INSPECTION = "engine.plan", "build.json", "inspection.json"
NO_READ_BACK = "the engine cannot be opened here (no GPU of its kind), so its precisions were not read back"


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineRecord:
    """How an engine came to be; plain JSON values.

    Attributes:
        build_seconds: that the compiler took when it was built, not when it came from the cache.
        warnings: of the compiler.
        precisions: `PrecisionReport.to_dict()`, or None with `note` saying why.
    """

    library: str
    version: str
    options: dict[str, Any]
    onnx_sha256: str
    size_bytes: int
    build_seconds: float
    warnings: list[str]
    precisions: dict[str, Any] | None
    note: str | None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


@contextmanager
def engine_of(
    library: Library, onnx: Path, onnx_sha256: str, options: BuildOptions, cache: Cache | None = None
) -> Iterator[tuple[Path, EngineRecord]]:
    """The plan file of a graph and its record; the file stays while the block runs.

    Args:
        onnx_sha256: of the file; with library, release, options and GPU it names the engine.

    Raises:
        UserError, WorkFailedError: see `build_plan`.
    """
    cache = cache or default_cache()
    device = options.compute_capability or gpu_name()
    text = json.dumps([library.name, library.version, onnx_sha256, options.to_dict(), device], sort_keys=True)
    key = f"{library.name}-{hashlib.sha256(text.encode()).hexdigest()[:40]}"

    def build(folder: Path) -> None:
        _build(
            library, onnx, onnx_sha256, options, cache.folder / f".timing-{library.version}-{device}", folder
        )

    with cache.entry(key, build) as folder:
        yield folder / PLAN, EngineRecord(**json.loads((folder / RECORD).read_text()))


def gpu_name() -> str:
    """Name of the first GPU as the driver tells it, `unknown` without a driver."""
    from evaluators.tensorrt.nvml import describe_gpu

    return str(describe_gpu().get("name", "unknown")).replace("/", "_")


def _build(
    library: Library, onnx: Path, onnx_sha256: str, options: BuildOptions, timings: Path, folder: Path
) -> None:
    before = timings.read_bytes() if timings.is_file() else b""
    plan = build_plan(library, onnx, options, before)
    if plan.timing_cache is not None:
        _keep_timings(timings, plan.timing_cache)
    (folder / PLAN).write_bytes(plan.data)
    inspection = None if library.builds_without_gpu else _inspect(library, plan.data)
    precisions = None
    if inspection is not None:
        (folder / INSPECTION).write_text(inspection)
        asked = asked_formats(onnx)
        precisions = compare(asked, real_formats(inspection, set(asked))).to_dict()
    record = EngineRecord(
        library=library.name,
        version=library.version,
        options=options.to_dict(),
        onnx_sha256=onnx_sha256,
        size_bytes=len(plan.data),
        build_seconds=plan.seconds,
        warnings=list(plan.messages),
        precisions=precisions,
        note=None if precisions is not None else NO_READ_BACK,
    )
    (folder / RECORD).write_text(json.dumps(record.to_dict(), indent=2))


def _inspect(library: Library, plan: bytes) -> str | None:
    """JSON of the engine inspector; None when the engine cannot be opened here."""
    trt = library.module
    logger = make_logger(trt)
    engine = trt.Runtime(logger).deserialize_cuda_engine(plan)
    if engine is None:
        return None
    inspector = engine.create_engine_inspector()
    return str(inspector.get_engine_information(trt.LayerInformationFormat.JSON))


def _keep_timings(path: Path, mine: bytes) -> None:
    """Replace the shared timing cache if ours knows more: every build starts from what it read."""
    lock = os.open(path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.is_file() or path.stat().st_size < len(mine):
            temporary = path.with_name(f"{path.name}.{os.getpid()}")
            temporary.write_bytes(mine)
            temporary.replace(path)
    finally:
        fcntl.flock(lock, fcntl.LOCK_UN)
        os.close(lock)
