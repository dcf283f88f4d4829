"""The arithmetic behind the front: trials in, plain numbers out. Drawing is elsewhere and decides nothing."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from storage.front import non_dominated
from storage.records import TrialRecord
from storage.states import TrialKind, TrialState

_LEAST_AP_SPAN = 0.1  # of the AP axis: one network, or equal ones, must not look far apart
_LOG_FROM_RATIO = 12.0  # slowest to fastest; beyond it a linear axis would squash the fast ones


class FrontPoint(NamedTuple):
    """One deployed network. AP 0..1; the interval is the 95 % one of a median, the 90 % one of an estimate."""

    number: int
    title: str
    ap: float
    latency_ms: float
    low_ms: float
    high_ms: float
    estimated: bool
    details: tuple[tuple[str, str], ...]  # what else a person may want to know: (name, value)


class PublishedPoint(NamedTuple):
    """A figure from the literature: other data and another device, so never on the axes of `FrontPoint`."""

    name: str
    ap: float
    latency_ms: float
    source: str


class FrontInfo(NamedTuple):
    """Everything that the front shows.

    Attributes:
        deployed, official, over, official_over: the groups of `charts.style.GROUPS`, by rising latency.
        front: points that no other point within the limit beats, by rising latency.
        best: the highest AP within the limit, or None.
        target_ms: the limit, or None.
        not_deployed: number of trials that ended over the limit before they were trained.
        published: shown in a chart of their own.
        log_latency: whether the latencies spread so far that the axis should be logarithmic.
    """

    deployed: tuple[FrontPoint, ...]
    official: tuple[FrontPoint, ...]
    over: tuple[FrontPoint, ...]
    official_over: tuple[FrontPoint, ...]
    front: tuple[FrontPoint, ...]
    best: FrontPoint | None
    target_ms: float | None
    not_deployed: int
    published: tuple[PublishedPoint, ...]
    log_latency: bool

    @property
    def measured(self) -> tuple[FrontPoint, ...]:
        """All points, whatever their group."""
        return self.deployed + self.official + self.over + self.official_over

    def latency_title(self) -> str:
        """Title of the latency axis; says so where a latency is estimated."""
        if any(point.estimated for point in self.measured):
            return "latency, ms (estimated, not measured; bar: 90 % interval)"
        return "latency, ms (median; bar: 95 % interval)"

    def rightmost(self) -> frozenset[FrontPoint]:
        """Points so far to the right that a label has to stand on their left."""
        return frozenset(p for p in self.measured if p.latency_ms > 0.85 * self.slowest_ms)

    @property
    def slowest_ms(self) -> float:
        """The largest latency to be shown, the limit included; 0 if there is nothing."""
        return max([p.high_ms for p in self.measured] + [self.target_ms or 0.0])

    @property
    def ap_range(self) -> tuple[float, float] | None:
        """Ends of the AP axis, with room above the front for the label of the limit."""
        if not self.measured:
            return None
        low, high = min(p.ap for p in self.measured), max(p.ap for p in self.measured)
        widened = max(0.0, _LEAST_AP_SPAN - (high - low)) / 2.0
        low, high = max(0.0, low - widened), high + widened + max(0.0, widened - low)
        return low - 0.08 * (high - low), high + 0.16 * (high - low)

    @property
    def limit_is_right(self) -> bool:
        """Whether the limit is so far to the right that its label has to stand on its left."""
        return self.target_ms is not None and self.target_ms > 0.6 * self.slowest_ms


def front_info(
    trials: Iterable[TrialRecord],
    published: Sequence[PublishedPoint] = (),
    target_ms: float | None = None,
) -> FrontInfo:
    """Sort what was deployed into groups and find the front. A trial without a deployed AP is not a point."""
    groups: dict[str, list[FrontPoint]] = {"deployed": [], "official": [], "over": [], "official_over": []}
    not_deployed = 0
    for trial in trials:
        point = _point(trial)
        if point is None:
            not_deployed += trial.state is TrialState.INFEASIBLE
            continue
        over = target_ms is not None and point.latency_ms > target_ms
        fixed = trial.kind is TrialKind.FIXED
        name = ("official_over" if over else "official") if fixed else ("over" if over else "deployed")
        groups[name].append(point)
    feasible = groups["deployed"] + groups["official"]
    front = tuple(feasible[i] for i in non_dominated([(p.ap, p.latency_ms) for p in feasible]))
    latencies = [p.latency_ms for points in groups.values() for p in points]
    return FrontInfo(
        **{
            name: tuple(sorted(points, key=lambda p: (p.latency_ms, p.number)))
            for name, points in groups.items()
        },
        front=front,
        best=max(front, key=lambda p: p.ap) if front else None,
        target_ms=target_ms,
        not_deployed=not_deployed,
        published=tuple(published),
        log_latency=bool(latencies) and max(latencies) / min(latencies) > _LOG_FROM_RATIO,
    )


def _point(trial: TrialRecord) -> FrontPoint | None:
    evaluation, latency = trial.deployed, trial.final_latency
    if evaluation is None or evaluation.ap is None or latency is None:
        return None
    details = [
        ("protocol", describe(evaluation.protocol)),
        ("latency", latency.origin),
        ("estimate" if latency.estimated else "workload", describe(latency.about)),
        ("precision", precision_label(trial.spec)),
        ("parameters", "" if trial.params is None else f"{trial.params / 1e6:.2f} M"),
        ("FLOPs", "" if trial.flops is None else f"{trial.flops / 1e9:.2f} G"),
    ]
    return FrontPoint(
        number=trial.number,
        title=trial.title,
        ap=evaluation.ap,
        latency_ms=latency.ms,
        low_ms=latency.low_ms,
        high_ms=latency.high_ms,
        estimated=latency.estimated,
        details=tuple((name, value) for name, value in details if value),
    )


def describe(values: Mapping[str, Any]) -> str:
    """JSON values in one short line: `split val, image size 320`; nested ones are left out."""
    plain = {name: value for name, value in values.items() if isinstance(value, str | int | float)}
    return ", ".join(f"{name.replace('_', ' ')} {_shown(value)}" for name, value in plain.items())


def precision_label(spec: Mapping[str, Any]) -> str:
    """Short name of the number format of a stored candidate, such as `int8 ptq`."""
    precision = spec.get("precision")
    if not isinstance(precision, Mapping):
        return ""
    floats = f"+{precision['float_layers']}f" if precision.get("float_layers") else ""
    parts = (precision.get("kind"), precision.get("scheme"), floats)
    return " ".join(str(part) for part in parts if part)


def _shown(value: str | float) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
