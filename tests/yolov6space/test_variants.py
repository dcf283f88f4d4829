"""Named networks against the configurations of the releases."""

import pytest

from foundation.errors import UserError
from yolov6space.variants import ablations, canonical_name, get, named, official

# Release 0.2.0: stem, backbone channels and repeats, neck channels and repeats, head channels. Repeats of M and L
# are those of the double blocks of CSPStackRep.
CONFIGURATIONS = {
    "YOLOv6-N": (16, (32, 64, 128, 256), (2, 4, 6, 2), (64, 32, 64, 128), (4,) * 4, (32, 64, 128)),
    "YOLOv6-T": (24, (48, 96, 192, 384), (2, 4, 6, 2), (96, 48, 96, 192), (4,) * 4, (48, 96, 192)),
    "YOLOv6-S": (32, (64, 128, 256, 512), (2, 4, 6, 2), (128, 64, 128, 256), (4,) * 4, (64, 128, 256)),
    "YOLOv6-M": (48, (96, 192, 384, 768), (2, 3, 5, 2), (192, 96, 192, 384), (3,) * 4, (96, 192, 384)),
    "YOLOv6-L": (64, (128, 256, 512, 1024), (3, 6, 9, 3), (256, 128, 256, 512), (6,) * 4, (128, 256, 512)),
    "YOLOv6-L-ReLU": (
        64,
        (128, 256, 512, 1024),
        (3, 6, 9, 3),
        (256, 128, 256, 512),
        (6,) * 4,
        (128, 256, 512),
    ),
}
HIDDEN = {
    "YOLOv6-M": (64, 128, 256, 512, 128, 64, 128, 256),
    "YOLOv6-L": (64, 128, 256, 512, 128, 64, 128, 256),
}
# conv, activation, reg_max, box loss, distillation
RECIPES = {
    "YOLOv6-N": ("repvgg", "relu", 0, "siou", "none"),
    "YOLOv6-T": ("repvgg", "relu", 0, "siou", "none"),
    "YOLOv6-S": ("repvgg", "relu", 0, "giou", "none"),
    "YOLOv6-M": ("repvgg", "relu", 16, "giou", "self"),
    "YOLOv6-L-ReLU": ("repvgg", "relu", 16, "giou", "self"),
    "YOLOv6-L": ("plain", "silu", 16, "giou", "self"),
}


def test_official_names_in_order_of_size():
    assert list(official()) == ["YOLOv6-N", "YOLOv6-T", "YOLOv6-S", "YOLOv6-M", "YOLOv6-L-ReLU", "YOLOv6-L"]


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_configuration(name):
    model = get(name).model
    assert CONFIGURATIONS[name] == (
        model.stem_channels,
        tuple(stage.channels for stage in model.backbone),
        tuple(stage.repeats for stage in model.backbone),
        tuple(stage.channels for stage in model.neck),
        tuple(stage.repeats for stage in model.neck),
        model.head_channels,
    )
    blocks = {stage.block for stage in (*model.backbone, *model.neck)}
    assert blocks == ({"csp_rep"} if name in ("YOLOv6-M", "YOLOv6-L", "YOLOv6-L-ReLU") else {"rep"})


@pytest.mark.parametrize("name", HIDDEN)
def test_width_inside_csp_blocks(name):
    model = get(name).model
    assert tuple(stage.hidden_channels for stage in (*model.backbone, *model.neck)) == HIDDEN[name]


@pytest.mark.parametrize("name", RECIPES)
def test_recipe(name):
    candidate = get(name)
    model, recipe = candidate.model, candidate.recipe
    assert RECIPES[name] == (
        model.conv,
        model.activation,
        model.reg_max,
        recipe.box_loss,
        recipe.distillation,
    )
    assert (recipe.class_loss, recipe.assigner, candidate.precision.label) == ("vfl", "tal", "fp16")


def test_every_cell_of_table_4_is_a_network():
    cells = {
        (name.split("-")[1], candidate.model.conv, candidate.model.activation)
        for name, candidate in ablations().items()
        if name.startswith("table4-")
    }
    assert cells == {
        (size, conv, activation)
        for size in "NM"
        for conv in ("plain", "repvgg")
        for activation in ("relu", "silu", "lrelu")
    }


def test_wide_neck_keeps_the_head():
    model = get("table3-L-neck-192-depth-5").model
    assert [stage.channels for stage in model.neck] == [384, 192, 384, 768]
    assert [stage.repeats for stage in model.neck] == [2, 2, 2, 2]
    assert model.head_channels == (128, 256, 512)


@pytest.mark.parametrize("spelling", ["N", "n", "yolov6n", "YOLOv6-N", "yolov6-n", " YOLOV6-N "])
def test_spellings_of_a_name(spelling):
    assert canonical_name(spelling) == "YOLOv6-N"


def test_unknown_name_says_what_there_is():
    with pytest.raises(
        UserError, match=r"no variant is called 'YOLOv6-LReLU' \(did you mean YOLOv6-L-ReLU\?\)"
    ):
        get("YOLOv6-LReLU")
    with pytest.raises(UserError, match="yolov6space list"):
        get("resnet")


def test_a_name_with_nothing_near_it_gets_no_guess():
    with pytest.raises(UserError, match="no variant is called 'YOLOv6-Q'; official ones"):
        get("YOLOv6-Q")


def test_returned_dictionaries_are_the_callers_own():
    official().clear()
    named().clear()
    assert len(official()) == 6
    assert len(named()) == 6 + len(ablations())
