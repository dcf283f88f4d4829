"""Published figures: spot checks against the printed tables, and the form of every one."""

import pytest

from foundation.errors import UserError
from yolov6space.cost import cost
from yolov6space.published import UNITS, networks, published
from yolov6space.variants import named, official


def values(name, table):
    return {
        (figure.metric, figure.protocol.batch): figure.value
        for figure in published(name)
        if figure.table == table
    }


def test_table_1_row_of_s():
    assert values("S", "table1") == {
        ("ap", None): 43.5,
        ("ap50", None): 60.4,
        ("fps", 1): 358,
        ("fps", 32): 495,
        ("latency_ms", 1): 2.8,
        ("params_m", None): 17.2,
        ("flops_g", None): 44.2,
    }


def test_protocols():
    figures = {
        (figure.table, figure.metric, figure.protocol.batch): figure for figure in published("YOLOv6-M")
    }
    accuracy, speed = figures["table1", "ap", None], figures["table1", "fps", 32]
    assert (accuracy.protocol.data, accuracy.protocol.epochs, accuracy.protocol.distillation) == (
        "COCO val2017",
        300,
        "self",
    )
    assert accuracy.protocol.device is None
    assert (speed.protocol.device, speed.protocol.runtime, speed.protocol.precision) == (
        "Tesla T4",
        "TensorRT 7.2",
        "fp16",
    )
    assert (speed.unit, speed.confidence, speed.source) == (
        "images/s",
        "verified",
        "arXiv 2209.02976, Table 1",
    )


def test_stale_size_of_t_is_kept_marked_and_corrected():
    assert values("T", "table1")["params_m", None] == 15.0
    assert values("T", "release-0.2.0")["params_m", None] == 9.7
    notes = {figure.metric: figure.note for figure in published("T") if figure.table == "table1"}
    assert "9.7 M and 24.9 G" in notes["params_m"]
    assert notes["ap"] is None


@pytest.mark.parametrize("name", official())
def test_official_variants_have_accuracy_and_speed_at_both_batches(name):
    first = values(name, "table1")
    assert {("ap", None), ("fps", 1), ("fps", 32), ("latency_ms", 1)} <= set(first)
    # Printed to one digit.
    assert first["latency_ms", 1] == pytest.approx(1000 / first["fps", 1], abs=0.0501)


def test_printed_sizes_are_those_of_the_named_networks():
    """All but the stale row of T: published numbers and our counts meet at the last printed digit."""
    compared = 0
    for name, candidate in named().items():
        for figure in published(name):
            if figure.metric not in ("params_m", "flops_g") or (figure.network, figure.table) == (
                "YOLOv6-T",
                "table1",
            ):
                continue
            found = cost(candidate.model)
            ours = found.params / 1e6 if figure.metric == "params_m" else found.flops_published / 1e9
            digits = len(str(figure.value).partition(".")[2])
            assert round(ours, digits) == figure.value, (name, figure)
            compared += 1
    assert compared > 40


def test_every_figure_is_well_formed():
    for network in networks():
        for figure in published(network):
            assert figure.unit == UNITS[figure.metric]
            assert figure.confidence in ("verified", "computed")
            assert figure.value > 0
            assert figure.network == network
            assert (figure.protocol.batch is not None) == (figure.metric in ("fps", "latency_ms"))


def test_other_detectors_and_unknown_names():
    assert values("yolov5-n", "table1")["ap", None] == 28.0
    with pytest.raises(UserError, match="no variant is called"):
        published("YOLOv9-C")


def test_quantized_s_has_its_own_precision():
    figures = [figure for figure in published("S") if figure.table == "table17" and figure.metric == "ap"]
    assert {figure.protocol.precision: figure.value for figure in figures} == {"fp16": 43.4, "int8": 43.3}
