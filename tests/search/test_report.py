"""What the end of a run says beside its tables."""

from dataclasses import replace
from pathlib import Path

import pytest

from search.driver import SearchResult
from search.options import SearchOptions
from search.report import next_commands, notes
from storage import Repository
from storage.front import pareto_front
from tests.search.conducting import TARGET_MS, conductor, run


def told(repository: Repository, *, fixed: int, trials: int, only_fixed: bool = False) -> SearchResult:
    """A search over a world that answers at once, its finalists trained longer."""
    run(conductor(repository, fixed=fixed, trials=trials, only_fixed=only_fixed))
    asked = SearchOptions(target_ms=TARGET_MS, only_fixed=only_fixed)
    return SearchResult(repository.get_study("s"), repository.trials(1), "", Path(), False, asked)


def test_that_nothing_was_searched_is_said_unless_it_was_not_asked_for(repository: Repository) -> None:
    result = told(repository, fixed=1, trials=1)
    assert ["no network but official variants" in note for note in notes(result, [])] == [True]
    assert not notes(replace(result, asked=replace(result.asked, only_fixed=True)), [])
    assert not notes(replace(result, trials=[]), [])


def test_trainings_of_unequal_length_on_one_front_are_told(repository: Repository) -> None:
    result = told(repository, fixed=1, trials=12)
    front = pareto_front(result.trials)
    epochs = {trial.deployed.epochs for trial in front if trial.deployed}
    assert epochs == {5.0, 25.0}
    assert ["trained for 5 to 25 epochs" in note for note in notes(result, front)] == [True]
    alike = [trial for trial in front if trial.deployed and trial.deployed.epochs == 25]
    assert not notes(result, alike)


def test_the_next_export_goes_where_nothing_is(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = told(repository, fixed=1, trials=1)
    monkeypatch.chdir(tmp_path)
    for out in ("best", "best-2", "best-3"):
        assert next_commands(result)[0].endswith(f"--out {out}")
        Path(out).mkdir()
