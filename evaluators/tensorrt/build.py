"""From an ONNX graph to an engine with TensorRT or TensorRT-RTX. Strongly typed: the graph decides the precision."""

import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from evaluators.tensorrt.library import Library, require_capability, require_own_capability
from foundation.errors import UserError, WorkFailedError

_MEBI = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildOptions:
    """What decides the engine besides the graph; part of every record and of the cache's key.

    Attributes:
        compute_capability: such as 7.5; None for that of the GPU here.
        optimization_level: 0 to 5; pinned, because the default of a release may change.
        workspace_mib: scratch memory a layer may take.
    """

    compute_capability: str | None = None
    optimization_level: int = 3
    workspace_mib: int = 1024

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A serialized engine and how it came to be.

    Attributes:
        data: what a runtime of the same release deserializes.
        seconds: that the compiler took, parsing included.
        messages: warnings of the compiler.
        timing_cache: kernel timings to start the next build from, None when the library keeps none.
    """

    data: bytes = field(repr=False)
    seconds: float
    messages: tuple[str, ...]
    timing_cache: bytes | None = field(default=None, repr=False)


def build_plan(library: Library, onnx: Path, options: BuildOptions, timing_cache: bytes = b"") -> Plan:
    """Compile an ONNX file.

    Raises:
        UserError: the library does not build for the compute capability asked for, or only for another one here.
        WorkFailedError: the parser refuses a node, which is named, or no engine can be made of the graph.
    """
    if options.compute_capability is not None:
        require_capability(library, options.compute_capability)
        require_own_capability(library, options.compute_capability)
    trt = library.module
    start = time.perf_counter()
    logger = make_logger(trt)
    try:
        builder = trt.Builder(logger)
    except (RuntimeError, TypeError) as error:  # pybind says TypeError when the constructor gives nothing
        raise WorkFailedError(f"{library.name} cannot start: {logger.text() or error}") from error
    network = builder.create_network(_network_flags(trt))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(onnx.read_bytes()):
        errors = "; ".join(_parser_error(parser.get_error(index)) for index in range(parser.num_errors))
        raise WorkFailedError(
            f"{library.name} {library.version} refuses the graph: {errors or logger.text()}"
        )
    config = _config(library, builder, options)
    timings = _attach_timing_cache(config, timing_cache) if not library.builds_without_gpu else None
    serialized = builder.build_serialized_network(network, config)
    if serialized is None:
        raise WorkFailedError(f"{library.name} {library.version} cannot build the graph: {logger.text()}")
    return Plan(
        data=bytes(serialized),
        seconds=time.perf_counter() - start,
        messages=tuple(logger.warnings),
        timing_cache=None if timings is None else bytes(timings.serialize()),
    )


def make_logger(trt: Any) -> Any:
    """An `ILogger` that collects warnings and errors instead of printing them."""

    class Collector(trt.ILogger):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.warnings: list[str] = []
            self.errors: list[str] = []

        def log(self, severity: Any, msg: str) -> None:
            if severity == trt.ILogger.Severity.WARNING:
                self.warnings.append(msg)
            elif severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
                self.errors.append(msg)

        def text(self) -> str:
            return "; ".join(self.errors)

    return Collector()


def _network_flags(trt: Any) -> int:
    """TensorRT 11 knows strongly typed networks only, and may have no flag for them any more."""
    flag = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    return 0 if flag is None else 1 << int(flag)


def _config(library: Library, builder: Any, options: BuildOptions) -> Any:
    trt = library.module
    config = builder.create_builder_config()
    config.builder_optimization_level = options.optimization_level
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_mib * _MEBI)
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if library.builds_without_gpu:
        if options.compute_capability is None:
            raise UserError(
                f"{library.name} compiles for a GPU that need not be here: say which, such as 7.5"
            )
        name = "SM" + options.compute_capability.replace(".", "")
        config.num_compute_capabilities = 1
        config.set_compute_capability(getattr(trt.ComputeCapability, name), 0)
    else:
        config.clear_flag(trt.BuilderFlag.TF32)  # fp32 means fp32, as on Turing
    return config


def _attach_timing_cache(config: Any, serialized: bytes) -> Any:
    """The same kernels are chosen again, and faster; a cache of another GPU or release is not taken."""
    timings = config.create_timing_cache(serialized)
    if timings is None or not config.set_timing_cache(timings, False):
        timings = config.create_timing_cache(b"")
        config.set_timing_cache(timings, False)
    return timings


def _parser_error(error: Any) -> str:
    node, kind = error.node_name(), error.node_operator()
    where = f"node {node or error.node()} ({kind})" if node or kind else f"node {error.node()}"
    return f"{where}: {' '.join(error.desc().split())}"
