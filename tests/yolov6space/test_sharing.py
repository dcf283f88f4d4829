"""Which architectures share weights."""

from yolov6space.cost import cost
from yolov6space.sharing import ARCHITECTURES, Sharing
from yolov6space.space import Space


def sharing(max_gflops: float, seed: int = 0) -> Sharing:
    return Sharing(Space.default(), 3, 320, max_gflops, seed)


def test_none_is_dearer_than_allowed_and_none_is_there_twice() -> None:
    models = sharing(2.0).models
    assert len(set(models)) == len(models) == ARCHITECTURES
    assert max(cost(model, num_classes=3, image_size=320).flops for model in models) <= 2.0e9


def test_the_same_values_give_the_same_architectures() -> None:
    assert sharing(2.0).models == sharing(2.0).models != sharing(2.0, seed=1).models


def test_the_space_s_first_choices_hold_for_all() -> None:
    one = sharing(2.0)
    assert one.reg_max == Space.default().choices["reg_max"][0]
    assert {model.reg_max for model in one.models} == {one.reg_max}
    assert one.recipe.box_loss == Space.default().choices["box_loss"][0]


def test_a_limit_that_nothing_meets_leaves_none() -> None:
    assert sharing(1e-6).models == ()
