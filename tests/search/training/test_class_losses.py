"""Classification losses against scalar formulations written from their papers."""

import math

import pytest
import torch

from search.training.class_losses import CLASS_LOSSES
from yolov6space import candidate


def slow(name: str, logit: float, target: float) -> float:
    p = 1 / (1 + math.exp(-logit))

    def entropy(wanted: float) -> float:
        return -(wanted * math.log(p) + (1 - wanted) * math.log(1 - p))

    if name == "vfl":  # arXiv 2008.13367, equation 2
        return target * entropy(target) if target > 0 else -0.75 * p**2 * math.log(1 - p)
    if name == "qfl":  # arXiv 2006.04388, equation 5
        return abs(target - p) ** 2 * entropy(target)
    p_t, alpha = (p, 0.25) if target > 0 else (1 - p, 0.75)
    focal = -alpha * (1 - p_t) ** 2 * math.log(p_t)  # arXiv 1708.02002, equation 5
    return focal if name == "focal" else focal + alpha * (1 - p_t) ** 3  # arXiv 2204.12511, table 1


def test_every_class_loss_of_a_recipe_exists() -> None:
    assert set(CLASS_LOSSES) == set(candidate.CLASS_LOSSES)


@pytest.mark.parametrize("name", sorted(CLASS_LOSSES))
@pytest.mark.parametrize("logit", [-9.0, -4.6, -0.3, 0.0, 1.7, 8.0])
@pytest.mark.parametrize("target", [0.0, 0.01, 0.4, 1.0])
def test_equals_the_scalar_formulation(name: str, logit: float, target: float) -> None:
    loss = CLASS_LOSSES[name](
        torch.tensor([logit], dtype=torch.float64), torch.tensor([target], dtype=torch.float64)
    )
    assert loss.item() == pytest.approx(slow(name, logit, target), rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("name", sorted(CLASS_LOSSES))
@pytest.mark.parametrize("target", [0.0, 0.5, 1.0])
def test_extreme_logits_stay_finite(name: str, target: float) -> None:
    logits = torch.tensor([-1e4, -200.0, 0.0, 200.0, 1e4], requires_grad=True)
    loss = CLASS_LOSSES[name](logits, torch.full((5,), target))
    loss.sum().backward()
    assert logits.grad is not None
    assert torch.isfinite(loss).all() and torch.isfinite(logits.grad).all()
