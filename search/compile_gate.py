"""The compile gate: no candidate is trained for an NVIDIA device that is not here if NVIDIA's compiler refuses it."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

from evaluators.hardware import Hardware
from evaluators.tensorrt.library import T4, TENSORRT_RTX
from foundation.cli import progress
from foundation.scratch import Scratch
from search.stages import Bench, class_count
from yolov6space.candidate import Candidate

if TYPE_CHECKING:
    from search.remote_judge import RemoteJudge
    from search.roles import Gate

GATE_TIMEOUT_S = 240.0  # below the time limit of a judgement


def gate_of(hardware: Hardware, judge: RemoteJudge) -> Gate | None:
    """The gate for a device, or None: on a device that is here, the engine that is measured is the check.

    Says so when TensorRT-RTX is missing, and what to do.
    """
    if not hardware.estimated:
        return None
    if importlib.util.find_spec(TENSORRT_RTX) is None:
        progress(
            "tensorrt-rtx is not installed, so candidates are not checked with NVIDIA's compiler; "
            "pip install tensorrt-rtx to have it"
        )
        return None
    progress(f"candidates must compile with TensorRT-RTX for compute capability {T4} before they are trained")
    return judge.compiles


def compile_untrained(candidate: Candidate, bench: Bench) -> None:
    """Build the candidate's untrained graph, typed for NVIDIA, and let TensorRT-RTX compile it for a T4.

    Raises:
        WorkFailedError: the compiler refuses, crashes or hangs; says at which node.
    """
    from evaluators.artefact import untrained_artefact
    from evaluators.tensorrt.compile_check import compile_artefact

    with Scratch("gate") as folder:
        artefact = untrained_artefact(
            candidate,
            num_classes=class_count(bench),
            image_size=bench.size_of(candidate),
            batch=bench.batch,
            folder=folder / candidate.key,
            float_format="fp16",
        )
        compile_artefact(artefact.folder, capability=T4, library=TENSORRT_RTX, timeout_s=GATE_TIMEOUT_S)
