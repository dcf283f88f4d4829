"""What a latency is (`Measurement`), what it is a latency of (`Workload`), and what is only estimated.

`Measurement` and `Estimate` share no base on purpose: a predicted latency must never be printed, stored or
ranked as a measured one. Milliseconds are per pass of one batch, not per image.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from evaluators.latency.statistics import median_interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What was run.

    Attributes:
        image_size: side of the square input in pixels.
        batch: images per pass.
        precision: number format asked for: fp32, bf16 or int8.
        device: name of the device as the back end knows it, such as `cpu`.
        backend: `openvino`.
    """

    image_size: int
    batch: int
    precision: str
    device: str
    backend: str


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """Raw times of single passes, what was run, and where.

    Attributes:
        samples_ms: one time per pass in milliseconds, in order, after the warm-up.
        workload: what was run.
        environment: machine, versions, threads, options of the engine; plain JSON values.
        artefact_hash: `Artefact.hash` of what was run.
        warmup_passes: passes that were run and thrown away before the first sample.
        disturbance: why the figure is doubtful, or None for a quiet run.
    """

    samples_ms: tuple[float, ...]
    workload: Workload
    environment: Mapping[str, Any] = field(default_factory=dict)
    artefact_hash: str | None = None
    warmup_passes: int = 0
    disturbance: str | None = None

    def __post_init__(self) -> None:
        if not self.samples_ms:
            raise ValueError("a measurement needs at least one sample")

    @property
    def disturbed(self) -> bool:
        """Whether something else than the network is in the figure; `disturbance` says what."""
        return self.disturbance is not None

    @cached_property
    def median_ms(self) -> float:
        """Half of the passes were faster."""
        return float(np.median(self.samples_ms))

    @cached_property
    def p99_ms(self) -> float:
        """99 % of the passes were faster (interpolated; of few samples it is about the slowest)."""
        return float(np.quantile(self.samples_ms, 0.99))

    @property
    def low_ms(self) -> float:
        """Lower end of the 95 % confidence interval of the median."""
        return self._interval[0]

    @property
    def high_ms(self) -> float:
        """Upper end of the 95 % confidence interval of the median."""
        return self._interval[1]

    @cached_property
    def spread_ms(self) -> float:
        """Interquartile range of the samples."""
        low, high = np.quantile(self.samples_ms, (0.25, 0.75))
        return float(high - low)

    @cached_property
    def _interval(self) -> tuple[float, float]:
        return median_interval(self.samples_ms)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; `from_dict` gives back an equal measurement. Derived figures are left out."""
        return dataclasses.asdict(self) | {
            "samples_ms": list(self.samples_ms),
            "environment": dict(self.environment),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Measurement":
        """Inverse of `to_dict`."""
        fields = dict(data)
        fields["samples_ms"] = tuple(fields["samples_ms"])
        fields["workload"] = Workload(**fields["workload"])
        return cls(**fields)

    def summary(self) -> dict[str, Any]:
        """The derived figures, for tables and `--json`."""
        return {
            "median_ms": self.median_ms,
            "low_ms": self.low_ms,
            "high_ms": self.high_ms,
            "p99_ms": self.p99_ms,
            "spread_ms": self.spread_ms,
            "samples": len(self.samples_ms),
            "disturbed": self.disturbed,
            "disturbance": self.disturbance,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A latency nobody measured.

    Attributes:
        value_ms: best guess in milliseconds.
        low_ms: it is hardly below this.
        high_ms: it is hardly above this.
        source: how it was made, in words.
    """

    value_ms: float
    low_ms: float
    high_ms: float
    source: str

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return dataclasses.asdict(self)
