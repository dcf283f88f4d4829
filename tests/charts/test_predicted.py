"""The predicted front: what is drawn is what was foretold, and says that it is an estimate."""

import pytest

from charts.front import front_info
from charts.predicted import PredictedPoint, predicted_figure, predicted_png

PREDICTED = (PredictedPoint(2.0, 0.30, -0.02, 0.40), PredictedPoint(3.0, 0.42, 0.35, 0.49))


def test_line_and_band_are_the_predictions(tmp_path):
    figure = predicted_figure(front_info([], (), 8.8), PREDICTED)
    axes = figure.axes[0]
    line = next(one for one in axes.lines if len(one.get_xdata()) == 2 and one.get_marker() == "o")
    assert list(line.get_xdata()) == [2.0, 3.0]
    assert list(line.get_ydata()) == [0.30, 0.42]
    corners = axes.collections[0].get_paths()[0].vertices
    assert corners[:, 1].min() == pytest.approx(0.0)  # no AP is below zero
    assert corners[:, 1].max() == pytest.approx(0.49)
    assert "estimated" in axes.get_title(loc="left")
    predicted_png(front_info([], (), None), PREDICTED, tmp_path / "new" / "predicted.png")
    assert (tmp_path / "new" / "predicted.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
