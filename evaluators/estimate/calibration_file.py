"""Measured latencies of a device that a time model is fitted to, kept in the user's cache folder.

One JSON file per device, software and number of threads. It holds the measurements and not the fit: fitting
takes a fraction of a second, and a better model in a later release gains from old measurements.
"""

import fcntl
import glob
import json
import math
import os
import re
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from evaluators.environment import environment, physical_cores
from evaluators.estimate.case import Case
from evaluators.estimate.fit import Observation
from evaluators.hardware import Hardware
from foundation.errors import UserError
from yolov6space.candidate import MAX_STRIDE, Candidate

FORMAT = 1
_SLOWEST_MS = 1e7  # nobody measures passes of hours
_COUNTS = (("image_size", MAX_STRIDE, 4096), ("batch", 1, 4096), ("classes", 1, 100_000))
_INTERVAL_ERRORS = 2 * 1.96  # standard errors in a 95 % interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Latency of one candidate, in milliseconds per pass, with its 95 % interval.

    Raises:
        ValueError, TypeError: what no measurement can have found (a file that was edited or damaged).
    """

    candidate: dict[str, Any]
    image_size: int
    batch: int
    classes: int
    median_ms: float
    low_ms: float
    high_ms: float
    disturbance: str | None = None

    def __post_init__(self) -> None:
        if not 0.0 < self.low_ms <= self.median_ms <= self.high_ms < _SLOWEST_MS:  # false for NaN, too
            raise ValueError(
                f"a latency of {self.median_ms} ms, {self.low_ms} to {self.high_ms}; it must be above 0 and in order"
            )
        for name, least, most in _COUNTS:
            value = getattr(self, name)
            if type(value) is not int or not least <= value <= most:
                raise ValueError(f"{name} is {value!r}; it must be a whole number from {least} to {most}")
        if self.image_size % MAX_STRIDE:
            raise ValueError(f"image_size is {self.image_size}; it must be a multiple of {MAX_STRIDE}")
        Candidate.from_dict(self.candidate)

    @property
    def question(self) -> tuple[str, int, int, int]:
        """What was measured: candidate, image size, batch, classes."""
        return Candidate.from_dict(self.candidate).key, self.image_size, self.batch, self.classes

    @property
    def observation(self) -> Observation:
        """What a model is fitted to."""
        candidate = Candidate.from_dict(self.candidate)
        case = Case(
            model=replace(candidate.model, conv="plain"),
            precision=candidate.precision,
            batch=self.batch,
            image_size=self.image_size,
            num_classes=self.classes,
        )
        error = math.log(self.high_ms / self.low_ms) / _INTERVAL_ERRORS
        return Observation(case=case, ms=self.median_ms, error=error, name=candidate.label)


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationFile:
    """What was measured on one device."""

    device: dict[str, Any]
    measured: tuple[Measured, ...] = ()

    @property
    def observations(self) -> list[Observation]:
        """Every latency."""
        return [one.observation for one in self.measured]


def device_identity(hardware: Hardware, threads: int | None = None) -> dict[str, Any]:
    """What a calibration is valid for: a measurement elsewhere says nothing about this device."""
    machine = environment()
    return {
        "device": hardware.device,
        "backend": hardware.backend,
        "cpu": machine["cpu"],
        "threads": threads or physical_cores(),
        "version": machine["versions"].get(hardware.backend),
    }


def path_for(identity: dict[str, Any]) -> Path:
    """The file of a device, in the user's cache folder."""
    from evaluators.data.bundled import cache_folder

    words = re.sub(r"[^A-Za-z0-9.]+", "_", "-".join(str(value) for value in identity.values()))
    return cache_folder() / "calibrations" / f"{words}.json"


def read_calibration(identity: dict[str, Any]) -> CalibrationFile:
    """What is known about a device, perhaps nothing.

    Raises:
        UserError: the file is there and is not a calibration.
    """
    path = path_for(identity)
    try:
        told = json.loads(path.read_text())
        if told["format"] != FORMAT:
            raise ValueError(f"format {told['format']}, not {FORMAT}")
        if told["device"] != identity:
            raise ValueError(f"of another device, {told['device']}")
        return CalibrationFile(device=identity, measured=tuple(Measured(**one) for one in told["measured"]))
    except FileNotFoundError:
        return CalibrationFile(device=identity)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: not a calibration ({error}); delete it and calibrate again") from None


def keep(identity: dict[str, Any], found: Measured) -> CalibrationFile:
    """Add a measurement, in place of an earlier one of the same, to what is kept by now; another process may add too.

    Of two disturbed ones the faster is kept: what disturbs only slows.

    Raises:
        UserError: the file is there and is not a calibration.
    """
    path = path_for(identity)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for left in path.parent.glob(f".{glob.escape(path.name)}.*"):
            left.unlink(missing_ok=True)  # by a writer that was killed
        known = read_calibration(identity)
        same = [one for one in known.measured if one.question == found.question]
        others = tuple(one for one in known.measured if one not in same)
        best = min([*same, found], key=lambda one: one.median_ms) if found.disturbance else found
        known = replace(known, measured=(*others, best))
        write_calibration(known)
    return known


def write_calibration(calibration: CalibrationFile) -> Path:
    """Write so that a kill or a full disk leaves either the old file or the whole new one."""
    path = path_for(calibration.device)
    path.parent.mkdir(parents=True, exist_ok=True)
    told = {"format": FORMAT, **asdict(calibration)}
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("w") as file:
            file.write(json.dumps(told, indent=1))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path
