"""Box losses against plain scalar formulations written from the papers, and at the places where they could break."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from search.training.box_losses import BOX_LOSSES
from yolov6space import candidate

Box = tuple[float, float, float, float]


def _iou(a: Box, b: Box) -> tuple[float, float]:
    """IoU and union, by interval arithmetic."""
    shared = max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
    return shared / union, union


def _hull(a: Box, b: Box) -> tuple[float, float]:
    return max(a[2], b[2]) - min(a[0], b[0]), max(a[3], b[3]) - min(a[1], b[1])


def _centre(a: Box) -> tuple[float, float]:
    return (a[0] + a[2]) / 2, (a[1] + a[3]) / 2


def slow_giou(a: Box, b: Box) -> float:
    overlap, union = _iou(a, b)
    width, height = _hull(a, b)
    return 1 - (overlap - (width * height - union) / (width * height))


def slow_diou(a: Box, b: Box) -> float:
    overlap, _ = _iou(a, b)
    return 1 - overlap + math.dist(_centre(a), _centre(b)) ** 2 / math.hypot(*_hull(a, b)) ** 2


def slow_ciou(a: Box, b: Box) -> float:
    overlap, _ = _iou(a, b)
    turn = math.atan((b[2] - b[0]) / (b[3] - b[1])) - math.atan((a[2] - a[0]) / (a[3] - a[1]))
    v = 4 / math.pi**2 * turn**2
    return slow_diou(a, b) + (v * v / (1 - overlap + v) if v else 0.0)


def slow_siou(a: Box, b: Box) -> float:
    """arXiv 2205.12740 as printed, arcsin included."""
    overlap, _ = _iou(a, b)
    dx, dy = (_centre(b)[k] - _centre(a)[k] for k in (0, 1))
    sigma = math.hypot(dx, dy)
    sine = abs(dy) / sigma if sigma else 0.0
    angle = 1 - 2 * math.sin(math.asin(min(1.0, sine)) - math.pi / 4) ** 2
    width, height = _hull(a, b)
    distance = sum(1 - math.exp(-(2 - angle) * share**2) for share in (dx / width, dy / height))
    shape = 0.0
    for first, second in ((0, 2), (1, 3)):
        ours, theirs = a[second] - a[first], b[second] - b[first]
        shape += (1 - math.exp(-abs(ours - theirs) / max(ours, theirs))) ** 4
    return 1 - overlap + (distance + shape) / 2


SLOW = {"giou": slow_giou, "diou": slow_diou, "ciou": slow_ciou, "siou": slow_siou}

coordinate = st.floats(-20, 20, allow_nan=False, width=32)
side = st.floats(0.25, 30, allow_nan=False, width=32)


@st.composite
def boxes(draw: st.DrawFn) -> Box:
    x, y, width, height = draw(coordinate), draw(coordinate), draw(side), draw(side)
    return x, y, x + width, y + height


def test_every_box_loss_of_a_recipe_exists() -> None:
    assert set(BOX_LOSSES) == set(candidate.BOX_LOSSES) == set(SLOW)


@pytest.mark.parametrize("name", sorted(BOX_LOSSES))
@given(predicted=boxes(), truth=boxes())
@settings(max_examples=150, deadline=None)
def test_equals_the_scalar_formulation(name: str, predicted: Box, truth: Box) -> None:
    loss = BOX_LOSSES[name](
        torch.tensor([predicted], dtype=torch.float64), torch.tensor([truth], dtype=torch.float64)
    )
    # The angle of two centres closer than about 1e-3 strides is blurred by the epsilon in its denominator.
    tolerance = 1e-5 if name != "siou" or math.dist(_centre(predicted), _centre(truth)) > 0.05 else 1e-3
    assert loss.item() == pytest.approx(SLOW[name](predicted, truth), abs=tolerance)


@pytest.mark.parametrize("name", sorted(BOX_LOSSES))
def test_known_values(name: str) -> None:
    same = torch.tensor([[1.0, 2.0, 5.0, 9.0]])
    assert BOX_LOSSES[name](same, same).item() == pytest.approx(0, abs=1e-6)
    apart = BOX_LOSSES["giou"](torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.tensor([[3.0, 0.0, 4.0, 1.0]]))
    assert apart.item() == pytest.approx(1.5)  # no overlap, half of the hull is empty


HARD = {
    "equal": (2.0, 2.0, 4.0, 4.0),
    "same centre": (1.0, 1.0, 5.0, 5.0),
    "straight above": (2.0, -8.0, 4.0, -6.0),
    "straight left": (-8.0, 2.0, -6.0, 4.0),
    "diagonal": (-8.0, -8.0, -6.0, -6.0),
    "no size": (3.0, 3.0, 3.0, 3.0),
    "no width": (3.0, 1.0, 3.0, 5.0),
    "inside out": (4.0, 4.0, 2.0, 2.0),
    "inside out, far": (90.0, 90.0, -70.0, -70.0),
    "hair-thin": (2.0, 2.0, 2.0 + 1e-6, 400.0),
    "enormous": (-1e6, -1e6, 1e6, 1e6),
    "far away": (1e6, 1e6, 1e6 + 2, 1e6 + 2),
}


@pytest.mark.parametrize("case", HARD)
@pytest.mark.parametrize("name", sorted(BOX_LOSSES))
def test_value_and_gradient_stay_finite(name: str, case: str) -> None:
    predicted = torch.tensor([HARD[case]], requires_grad=True)
    loss = BOX_LOSSES[name](predicted, torch.tensor([[2.0, 2.0, 4.0, 4.0]]))
    loss.sum().backward()
    assert predicted.grad is not None
    assert torch.isfinite(loss).all() and loss.item() >= -1e-6
    assert torch.isfinite(predicted.grad).all() and predicted.grad.abs().max() < 1e3


@pytest.mark.parametrize("name", sorted(BOX_LOSSES))
def test_gradient_descent_finds_the_box(name: str) -> None:
    truth = torch.tensor([[2.0, 3.0, 8.0, 7.0]])
    predicted = torch.tensor([[0.0, 0.0, 3.0, 4.0]], requires_grad=True)
    optimizer = torch.optim.Adam([predicted], lr=0.05)
    for _ in range(600):
        optimizer.zero_grad()
        BOX_LOSSES[name](predicted, truth).sum().backward()
        optimizer.step()
    assert torch.allclose(predicted, truth, atol=0.2)
