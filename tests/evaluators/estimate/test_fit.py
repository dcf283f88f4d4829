import numpy as np
import pytest

from evaluators.estimate.case import Case, work_of
from evaluators.estimate.fit import Observation, Parameter, fit, leave_out
from yolov6space.candidate import Precision
from yolov6space.variants import named

FP16 = Precision(kind="fp16")


class Toy:
    """Time per multiplication, and per layer; `unused` is in no time."""

    parameters = (
        Parameter("tera_macs", 1.0, 2.0, ""),
        Parameter("layer_us", 10.0, 2.0, ""),
        Parameter("unused", 7.0, 0.5, ""),
    )

    def milliseconds(self, values, case):
        work = work_of(case.model, case.num_classes, case.image_size)
        macs = (work.count * work.pixels * work.columns * work.channels * work.taps).sum()
        both = case.batch * macs / values["tera_macs"] / 1e9 + values["layer_us"] * 1e-3 * work.count.sum()
        return both[:, 0]


def cases():
    models = {candidate.model for candidate in named().values()}
    ordered = sorted(models, key=repr)
    return [Case(model=model, precision=FP16, batch=batch) for model in ordered for batch in (1, 8)]


def truth(noise=0.0):
    rng = np.random.default_rng(0)
    logs = np.log([[4.0, 5.0, 7.0]])
    values = dict(zip(("tera_macs", "layer_us", "unused"), np.exp(logs).T[:, :, None], strict=True))
    return [
        Observation(case=case, ms=float(Toy().milliseconds(values, case)[0] * np.exp(noise * rng.normal())))
        for case in cases()
    ]


def test_parameters_behind_clean_latencies_are_found():
    found = fit(Toy(), truth(), expected_noise=0.001)
    assert found.values["tera_macs"] == pytest.approx(4.0, rel=1e-3)
    assert found.values["layer_us"] == pytest.approx(5.0, rel=1e-3)


def test_a_parameter_that_no_latency_speaks_of_keeps_its_prior_and_its_doubt():
    found = fit(Toy(), truth(0.02))
    assert found.values["unused"] == pytest.approx(7.0)
    assert np.sqrt(found.covariance[2, 2]) == pytest.approx(0.5, rel=0.2)


def test_the_noise_is_found_and_the_interval_holds_about_nine_of_ten():
    rows = truth(0.05)
    found = fit(Toy(), rows, expected_noise=0.05)
    assert found.noise == pytest.approx(0.05, rel=0.35)
    left_out = leave_out(Toy(), rows, lambda row: row.case, expected_noise=0.05)
    held = [one.low_ms <= row.ms <= one.high_ms for row, one in zip(rows, left_out, strict=True)]
    assert 0.75 <= np.mean(held) <= 1.0
    assert not all(one.value_ms == row.ms for row, one in zip(rows, left_out, strict=True))


def test_leaving_out_really_leaves_out():
    rows = truth(0.02)
    spoilt = [*rows[:-1], Observation(case=rows[-1].case, ms=rows[-1].ms * 50)]
    honest = leave_out(Toy(), rows, lambda row: row.case)[-1]
    assert leave_out(Toy(), spoilt, lambda row: row.case)[-1].value_ms == pytest.approx(
        honest.value_ms, rel=1e-3
    )


def test_an_interval_is_wider_with_doubt_and_nothing_is_not_fitted():
    found = fit(Toy(), truth(0.02))
    case = cases()[0]
    sure, unsure = (found.estimate(case, source="test", doubt=doubt) for doubt in (1.0, 2.0))
    assert sure.low_ms < sure.value_ms == unsure.value_ms < sure.high_ms < unsure.high_ms
    assert found.milliseconds(case) == pytest.approx(sure.value_ms)
    with pytest.raises(ValueError, match="no latency"):
        fit(Toy(), [])


def test_a_disturbed_latency_bends_a_robust_fit_little_and_one_with_a_known_error_less():
    rows = truth(0.02)
    spoilt = [
        Observation(case=row.case, ms=row.ms * (3.0 if at % 9 == 0 else 1.0)) for at, row in enumerate(rows)
    ]
    doubted = [
        Observation(case=row.case, ms=row.ms, error=0.5 if at % 9 == 0 else 0.0)
        for at, row in enumerate(spoilt)
    ]

    def error(found):
        return abs(found.values["tera_macs"] / 4.0 - 1)

    plain, robust = fit(Toy(), spoilt), fit(Toy(), spoilt, robust=True)
    assert error(robust) < error(plain) / 3
    assert error(fit(Toy(), doubted)) < 0.05
