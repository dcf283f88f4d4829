"""The plan of a run: published numbers on long runs, sensible ones on short runs."""

import math

import pytest

from search.training.data.augment import LARGE, SMALL
from search.training.options import TrainingOptions
from search.training.schedule import Plan
from yolov6space.variants import get

COCO_IMAGES = 118287


def plan(epochs: int = 20, images: int = 200, batch: int = 16, name: str = "YOLOv6-N", **rest) -> Plan:
    options = TrainingOptions(epochs=epochs, image_size=192, batch=batch, **rest)
    return Plan.of(get(name).model, options, images)


def test_a_run_of_published_length_follows_the_published_recipe() -> None:
    published = plan(epochs=300, images=COCO_IMAGES, batch=64)
    assert published.steps == round(300 * COCO_IMAGES / 64)
    assert published.warmup_steps == round(3 * COCO_IMAGES / 64)
    assert published.plain_from == pytest.approx(285 / 300 * published.steps, abs=1)
    assert published.weight_decay == pytest.approx(5e-4)
    assert published.ema_decay(published.steps) == pytest.approx(0.9999)
    assert published.ema_decay(1999) == pytest.approx(0.9999 * (1 - math.exp(-1)))
    assert published.augmentation == SMALL
    assert published.lr == 0.02
    assert published.warms_up_assigner(4 * COCO_IMAGES // 64 - 10)
    assert not published.warms_up_assigner(4 * COCO_IMAGES // 64 + 10)


@pytest.mark.parametrize(
    ("name", "augmentation"),
    [("YOLOv6-N", SMALL), ("YOLOv6-T", SMALL), ("YOLOv6-S", SMALL), ("YOLOv6-M", LARGE), ("YOLOv6-L", LARGE)],
)
def test_augmentation_follows_the_size(name: str, augmentation: object) -> None:
    assert plan(epochs=300, name=name).augmentation == augmentation


@pytest.mark.parametrize("epochs", [1, 5, 48, 300])
def test_learning_rate_rises_once_and_falls_to_a_hundredth(epochs: int) -> None:
    made = plan(epochs=epochs, images=160)
    factors = [made.lr_factor(step) for step in range(made.steps + 1)]
    top = factors.index(max(factors))
    assert top <= max(1, made.steps // 10)
    assert factors[: top + 1] == sorted(factors[: top + 1])
    assert factors[top:] == sorted(factors[top:], reverse=True)
    assert factors[-1] == pytest.approx(0.01) and max(factors) > 0.9
    middle = made.lr_factor(made.steps // 2)
    assert middle == pytest.approx(0.505, abs=0.01)  # half-way down the cosine


def test_warmup_of_biases_and_momentum() -> None:
    made = plan(epochs=300, images=1600, batch=16, lr=0.02)
    assert made.warmup_steps == 1000
    assert made.lr_factor(0, bias=True) * made.lr == pytest.approx(0.1, rel=0.01)
    assert made.lr_factor(0) < 0.002
    assert made.lr_factor(1000, bias=True) == made.lr_factor(1000)
    assert (
        made.momentum(0) == 0.8
        and made.momentum(500) == pytest.approx(0.8685)
        and made.momentum(1000) == 0.937
    )


def test_a_slower_plan_has_lower_rates_from_the_first_step_on() -> None:
    made = plan(epochs=300, images=1600, batch=16)
    slower = made.slower(0.3)
    for step in (0, 500, 1000, made.steps - 1):
        for bias in (False, True):
            rate = made.lr * made.lr_factor(step, bias=bias)
            assert slower.lr * slower.lr_factor(step, bias=bias) == pytest.approx(0.3 * rate)


def test_trained_weights_are_not_shaken_at_the_start() -> None:
    options = TrainingOptions(epochs=20, image_size=192)
    again = Plan.of(get("YOLOv6-N").model, options, 200, resumed_weights=True)
    assert again.lr_factor(0, bias=True) == again.lr_factor(0)
    assert not again.warms_up_assigner(0)


@pytest.mark.parametrize("steps", [40, 600, 5000])
def test_the_average_of_a_short_run_forgets_its_beginning(steps: int) -> None:
    """Weight of the first half of the run in the final average, by the recursion itself."""
    made = plan(epochs=steps, images=16)
    assert made.steps == steps
    early = 1.0
    for step in range(steps):
        decay = made.ema_decay(step)
        assert 0 <= decay < 1
        if step >= steps // 2:
            early *= decay
    assert early < 1e-3


def test_strong_augmentation_ends_before_the_run() -> None:
    made = plan(epochs=200, name="YOLOv6-M")
    assert made.augmentation_at(made.plain_from - 1).mixup > 0
    last = made.augmentation_at(made.plain_from)
    assert last.mosaic == last.mixup == 0 and last.flip == 0.5 and last.saturation == 0.7
    assert 0 < made.plain_from < made.steps


def test_short_runs_do_without_mosaic_and_long_ones_come_to_it_gradually() -> None:
    mosaics = [plan(epochs=epochs).augmentation.mosaic for epochs in (1, 50, 100, 200, 300, 500)]
    assert mosaics == [0, 0, pytest.approx(0.2), pytest.approx(0.6), 1, 1]


def test_tiny_data_still_trains_a_step() -> None:
    made = plan(epochs=1, images=3)
    assert made.steps == 1 and made.lr_factor(0) > 0 and 0 <= made.ema_decay(0) < 1
