from search.evidence import DISTURBANCE, measurement_from, over_target
from storage.states import Rung
from tests.search.fakes import measurement
from tests.search.test_finalists import CANDIDATE


def test_a_disturbed_measurement_is_stored_and_told_as_one() -> None:
    told = measurement(CANDIDATE)
    quiet = measurement_from(told, Rung.UNTRAINED)
    busy = measurement_from({**told, "disturbance": "a noisy neighbour"}, Rung.UNTRAINED)
    assert DISTURBANCE not in quiet.environment
    assert busy.environment == {**quiet.environment, DISTURBANCE: "a noisy neighbour"}
    assert over_target(quiet, 1000.0) is over_target(busy, 1000.0) is None
    slow = over_target(quiet, 0.001), over_target(busy, 0.001)
    assert slow[1] == f"{slow[0]} (disturbed)"
