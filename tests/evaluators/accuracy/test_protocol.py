import pytest

from evaluators.accuracy import PAPER, PLAIN, PROTOCOLS
from evaluators.accuracy.protocol import protocol_named, stored_protocol
from foundation.errors import UserError


def test_the_papers():
    assert PAPER.to_dict() == {
        "conf_threshold": 0.03,
        "nms_iou": 0.65,
        "max_detections": 300,
        "max_candidates": 30_000,
        "multi_label": True,
        "fill": 114,
        "load_size": 634,
        "rectangular": False,
        "extra_border": 0.0,
        "whole_border": True,
        "exact_scale": True,
    }
    sizes = {name: PROTOCOLS[f"paper-{name}"].load_size for name in ("N", "T", "S", "M", "L", "L-ReLU")}
    assert sizes == {"N": 638, "T": 634, "S": 638, "M": 628, "L": 632, "L-ReLU": 638}


def test_by_name_or_by_settings():
    assert protocol_named("plain") is PLAIN
    assert not protocol_named("single-label").multi_label
    changed = protocol_named('{"nms_iou": 0.5, "conf_threshold": 0}')
    assert (changed.nms_iou, changed.conf_threshold, changed.load_size) == (0.5, 0, 634)


def test_stored_results_give_their_protocol_again():
    record = {"split": "val", "seed": 3, **PROTOCOLS["paper-M"].to_dict()}
    assert stored_protocol(record) == PROTOCOLS["paper-M"]
    assert stored_protocol({"conf_threshold": 0.03, "epochs": 9}) == PLAIN


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("papers", "'papers' is unknown; choose paper,"),
        ("{", "not valid JSON at column"),
        ('{"iou": 0.5}', "unknown setting 'iou'; known are conf_threshold,"),
        ('{"nms_iou": "0.5"}', "nms_iou must be a float, not '0.5'"),
        ('{"max_detections": 3.5}', "max_detections must be a int"),
        ('{"multi_label": 1}', "multi_label must be a bool"),
        ('{"nms_iou": 0}', "nms_iou cannot be 0"),
        ('{"conf_threshold": 1}', "conf_threshold cannot be 1"),
        ('{"load_size": 641}', "load_size cannot be 641"),
        ('{"extra_border": 0.5}', "extra_border cannot be 0.5"),
    ],
)
def test_wrong_protocols(text, expected):
    with pytest.raises(UserError) as caught:
        protocol_named(text)
    assert expected in str(caught.value)
