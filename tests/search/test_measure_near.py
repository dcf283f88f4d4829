"""How often the latency of a candidate is measured: as it matters for the limit."""

from typing import Any

import pytest

from evaluators import latency
from evaluators.latency import Measurement, Workload
from search.stages import measure_near

WORKLOAD = Workload(image_size=64, batch=1, precision="fp32", device="cpu", backend="openvino")


def test_three_engines_where_a_disturbed_one_may_be_either_side_of_the_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def measure(_artefact: Any, _hardware: Any, engines: int = 1) -> Measurement:
        return Measurement(
            samples_ms=(8.5, 37.0, 40.0, 47.0) * engines,
            workload=WORKLOAD,
            artefact_hash="a",
            engine_samples=(4,) * engines,
            disturbance="a neighbour",
        )

    monkeypatch.setattr(latency, "measure", measure)
    assert len(measure_near(None, None, 8.8).engine_medians_ms) == 3  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("median_ms", "disturbance", "engines"),
    [
        (4.0, None, 1),
        (6.9, None, 1),
        (8.0, None, 3),
        (9.9, None, 3),
        (12.0, None, 1),
        (6.9, "a neighbour", 3),
        (15.0, "a neighbour", 3),
        (3.9, "a neighbour", 1),  # far from the limit even so
        (20.0, "a neighbour", 1),
    ],
)
def test_three_engines_where_one_does_not_settle_it(
    monkeypatch: pytest.MonkeyPatch, median_ms: float, disturbance: str | None, engines: int
) -> None:
    def measure(_artefact: Any, _hardware: Any, engines: int = 1) -> Measurement:
        return Measurement(
            samples_ms=(median_ms,) * 6 * engines,
            workload=WORKLOAD,
            artefact_hash="a",
            engine_samples=(6,) * engines,
            disturbance=disturbance,
        )

    monkeypatch.setattr(latency, "measure", measure)
    found = measure_near(None, None, 8.8)  # type: ignore[arg-type]
    assert len(found.engine_medians_ms) == engines
    assert found.disturbance == disturbance
