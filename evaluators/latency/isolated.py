"""Measuring and comparing artefacts in a process of their own, so that a vendor library can crash or hang alone.

We hold the device and the other process uses it: waiting for others who measure is not taken for a hang.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from evaluators.artefact import Artefact
from evaluators.device_lock import measuring
from evaluators.hardware import Hardware
from evaluators.isolation import run_isolated
from evaluators.latency.records import Measurement
from evaluators.latency.sampling import Sampling

COMPILE_S = 120.0  # allowed for opening one engine; TensorRT builds take longest


def measure_isolated(
    artefact: Artefact,
    hardware: Hardware,
    *,
    threads: int | None = None,
    sampling: Sampling,
    engines: int,
) -> Measurement:
    """`measurement.measure` in a new process.

    Raises:
        UserError: the device cannot run the artefact.
        WorkFailedError: the library refused, crashed, ran out of memory, or hung.
    """
    with measuring(hardware.device):
        told = run_isolated(
            f"{__name__}:latency",
            {
                "folder": str(artefact.folder.resolve()),
                "hardware": asdict(hardware),
                "threads": threads,
                "sampling": asdict(sampling),
                "engines": engines,
            },
            timeout_s=engines * (COMPILE_S + 2 * sampling.longest),
        )
    return Measurement.from_dict(told)


def alternate_isolated(
    artefacts: Sequence[Artefact], hardware: Hardware, *, threads: int | None, rounds: int, seconds: float
) -> tuple[list[float], list[float]]:
    """`comparison.alternate` of two artefacts in a new process; the device is ours meanwhile.

    Raises:
        UserError, WorkFailedError: as `measure_isolated`.
    """
    with measuring(hardware.device):
        first, second = run_isolated(
            f"{__name__}:comparison",
            {
                "folders": [str(artefact.folder.resolve()) for artefact in artefacts],
                "hardware": asdict(hardware),
                "threads": threads,
                "rounds": rounds,
                "seconds": seconds,
            },
            timeout_s=2 * rounds * (COMPILE_S + 5 * seconds),
        )
    return first, second


def latency(
    folder: str, hardware: dict[str, Any], threads: int | None, sampling: dict[str, Any], engines: int
) -> dict[str, Any]:
    """What `measure_isolated` runs in the other process."""
    from evaluators.artefact import load_artefact
    from evaluators.latency.measurement import measure

    return measure(
        load_artefact(folder),
        hardware_from(hardware),
        threads=threads,
        sampling=Sampling(**sampling),
        engines=engines,
        device_is_ours=True,
    ).to_dict()


def comparison(
    folders: list[str], hardware: dict[str, Any], threads: int | None, rounds: int, seconds: float
) -> tuple[list[float], list[float]]:
    """What `alternate_isolated` runs in the other process."""
    from evaluators.artefact import load_artefact
    from evaluators.latency.comparison import alternate, opener

    device = hardware_from(hardware)
    first, second = (opener(load_artefact(folder), device, threads) for folder in folders)
    return alternate(first, second, rounds=rounds, passes_seconds=seconds)


def hardware_from(told: dict[str, Any]) -> Hardware:
    """Inverse of `asdict`."""
    from evaluators.devices import Pacing

    pacing = told["pacing"]
    return Hardware(**{**told, "pacing": None if pacing is None else Pacing(**pacing)})
