"""What a latency is (`Measurement`), what it is a latency of (`Workload`), and what is only estimated.

`Measurement` and `Estimate` share no base on purpose: a predicted latency must never be printed, stored or
ranked as a measured one. Milliseconds are per pass of one batch, not per image.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluators.latency.statistics import engines_interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What was run.

    Attributes:
        image_size: side of the square input in pixels.
        batch: images per pass.
        precision: number format asked for: fp32, fp16, bf16 or int8.
        device: name of the device as the back end knows it, such as `cpu` or `cuda:0`.
        backend: `openvino`, `onnxruntime` or `tensorrt`.
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
        warmup_ms: times of the passes before the first sample, which count for nothing else.
        engine_samples: how many of the samples came from each engine that was opened, in order.
        left_out: how many more passes were timed while the processor was slow, and count for nothing.
        disturbance: why the figure is doubtful, or None for a quiet run.
    """

    samples_ms: tuple[float, ...]
    workload: Workload
    environment: Mapping[str, Any] = field(default_factory=dict)
    artefact_hash: str | None = None
    warmup_ms: tuple[float, ...] = ()
    engine_samples: tuple[int, ...] = ()
    left_out: int = 0
    disturbance: str | None = None

    def __post_init__(self) -> None:
        if not self.samples_ms:
            raise ValueError("a measurement needs at least one sample")
        if self.engine_samples and (
            min(self.engine_samples) < 1 or sum(self.engine_samples) != len(self.samples_ms)
        ):
            raise ValueError(f"{len(self.samples_ms)} samples are not those of engines {self.engine_samples}")

    @property
    def disturbed(self) -> bool:
        """Whether something else than the network is in the figure; `disturbance` says what."""
        return self.disturbance is not None

    @cached_property
    def median_ms(self) -> float:
        """Half of the passes were faster; of several engines the middle one's."""
        return float(np.median(self.engine_medians_ms))

    @cached_property
    def engine_medians_ms(self) -> tuple[float, ...]:
        """Median of every engine."""
        return tuple(float(np.median(run)) for run in self._runs)

    @cached_property
    def p90_ms(self) -> float:
        """90 % of the passes were faster."""
        return float(np.quantile(self.samples_ms, 0.9))

    @cached_property
    def p99_ms(self) -> float:
        """99 % of the passes were faster (interpolated; of few samples it is about the slowest)."""
        return float(np.quantile(self.samples_ms, 0.99))

    @property
    def low_ms(self) -> float:
        """Lower end of the 95 % confidence interval of the median, of a typical engine where several ran."""
        return self._interval[0]

    @property
    def high_ms(self) -> float:
        """Upper end of the 95 % confidence interval of the median, of a typical engine where several ran."""
        return self._interval[1]

    @cached_property
    def spread_ms(self) -> float:
        """Interquartile range of the samples."""
        low, high = np.quantile(self.samples_ms, (0.25, 0.75))
        return float(high - low)

    @cached_property
    def _interval(self) -> tuple[float, float]:
        return engines_interval(self._runs)

    @cached_property
    def _runs(self) -> list[NDArray[np.float64]]:
        return np.split(
            np.asarray(self.samples_ms, dtype=float), np.cumsum(self.engine_samples[:-1], dtype=int)
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; `from_dict` gives back an equal measurement. Derived figures are left out."""
        return dataclasses.asdict(self) | {
            "samples_ms": list(self.samples_ms),
            "warmup_ms": list(self.warmup_ms),
            "engine_samples": list(self.engine_samples),
            "environment": dict(self.environment),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Measurement":
        """Inverse of `to_dict`."""
        fields = dict(data)
        for name in ("samples_ms", "warmup_ms", "engine_samples"):
            fields[name] = tuple(fields.get(name, ()))
        fields["workload"] = Workload(**fields["workload"])
        return cls(**fields)

    def summary(self) -> dict[str, Any]:
        """The derived figures, for tables and `--json`."""
        return {
            "median_ms": self.median_ms,
            "low_ms": self.low_ms,
            "high_ms": self.high_ms,
            "p90_ms": self.p90_ms,
            "p99_ms": self.p99_ms,
            "spread_ms": self.spread_ms,
            "samples": len(self.samples_ms),
            "warmup_passes": len(self.warmup_ms),
            "left_out_passes": self.left_out,
            "engine_medians_ms": list(self.engine_medians_ms),
            "disturbed": self.disturbed,
            "disturbance": self.disturbance,
        }


def joined(measurements: Sequence[Measurement]) -> Measurement:
    """One measurement of several of the same artefact on the same device, each of other engines.

    Raises:
        ValueError: none, or of different artefacts or workloads.
    """
    if not measurements or len({(one.artefact_hash, one.workload) for one in measurements}) > 1:
        raise ValueError("only measurements of one artefact with one workload can be joined")
    reasons = dict.fromkeys(one.disturbance for one in measurements if one.disturbance)
    return dataclasses.replace(
        measurements[0],
        samples_ms=tuple(chain.from_iterable(one.samples_ms for one in measurements)),
        warmup_ms=tuple(chain.from_iterable(one.warmup_ms for one in measurements)),
        engine_samples=tuple(
            chain.from_iterable(one.engine_samples or (len(one.samples_ms),) for one in measurements)
        ),
        left_out=sum(one.left_out for one in measurements),
        disturbance="; ".join(reasons) or None,
    )


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
