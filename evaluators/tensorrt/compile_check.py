"""Whether NVIDIA's compiler takes an artefact: the check that needs no GPU."""

from pathlib import Path
from typing import Any

from evaluators.isolation import run_isolated

BUILD_TIMEOUT_S = 900.0


def compile_artefact(
    folder: Path,
    *,
    capability: str | None,
    library: str,
    optimization_level: int = 3,
    workspace_mib: int = 1024,
    timeout_s: float = BUILD_TIMEOUT_S,
) -> dict[str, Any]:
    """Build an engine of an artefact in a process of its own; from the cache when it was built before.

    Args:
        capability: compute capability, such as 7.5; None for that of the GPU here.
        library: `tensorrt` or `tensorrt_rtx`.

    Returns:
        `EngineRecord.to_dict()` with the artefact's hash, candidate and precision.

    Raises:
        UserError: no such library or artefact, or a release that does not build for that capability.
        WorkFailedError: the compiler refuses the graph, crashes, or takes longer than `timeout_s`.
    """
    result: dict[str, Any] = run_isolated(
        "evaluators.tensorrt.compile_check:build_engine",
        {
            "folder": str(folder),
            "capability": capability,
            "library": library,
            "optimization_level": optimization_level,
            "workspace_mib": workspace_mib,
        },
        timeout_s=timeout_s,
    )
    return result


def build_engine(
    folder: str, capability: str | None, library: str, optimization_level: int, workspace_mib: int
) -> dict[str, Any]:
    """What `compile_artefact` runs in the other process."""
    from evaluators.artefact import load_artefact
    from evaluators.tensorrt.build import BuildOptions
    from evaluators.tensorrt.engines import engine_of
    from evaluators.tensorrt.library import find_library

    artefact = load_artefact(folder)
    compiler = find_library(library)
    options = BuildOptions(
        compute_capability=capability, optimization_level=optimization_level, workspace_mib=workspace_mib
    )
    with engine_of(compiler, artefact.onnx, artefact.meta.onnx_sha256, options) as (_, record):
        return {
            "artefact_hash": artefact.hash,
            "candidate": artefact.meta.candidate_key,
            "precision": artefact.meta.precision,
            "float_layers": list(artefact.meta.float_layers),
            **record.to_dict(),
        }
