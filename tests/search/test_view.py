"""Plain lines of a running search."""

import pytest

from search.view import SearchView
from storage import Repository
from tests.search.conducting import conductor, run


def test_the_end_of_a_training_is_told_at_once(
    repository: Repository, capsys: pytest.CaptureFixture[str]
) -> None:
    run(conductor(repository, fixed=1, trials=1))
    view = SearchView("s", 8.8, list, lambda: 100.0)
    progress = {"epoch": 2, "epochs": 2, "steps": 20, "loss": 1.0, "images_per_second": 9.0, "phase": ""}
    view.event("something")  # a line of progress is due 20 s later
    view.training(repository.trials(1)[0], {**progress, "step": 19})
    view.training(repository.trials(1)[0], {**progress, "step": 20, "phase": "scales"})
    assert "YOLOv6-N" not in capsys.readouterr().err
    view.training(repository.trials(1)[0], {**progress, "step": 20})
    assert "YOLOv6-N int8: done, now built, measured and judged" in capsys.readouterr().err
