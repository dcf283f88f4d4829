from dataclasses import replace

import pytest

from evaluators.estimate.case import work_of
from yolov6space.cost import layers, totals
from yolov6space.variants import get, official


@pytest.mark.parametrize("name", list(official()))
def test_the_arrays_hold_the_multiplications_and_values_of_the_table(name):
    model = get(name).model
    table = layers(model, num_classes=80, image_size=640, precision="int8")
    work = work_of(model, 80, 640)
    macs = (work.count * work.pixels * work.columns * work.channels * work.taps).sum()
    dense = [row for row in table if row.kind in ("conv", "transposed_conv")]
    rest = [row for row in table if row.kind in ("max_pool", "add")]
    assert macs == sum(row.macs for row in dense)
    assert (work.count * work.read).sum() == sum(row.input_bytes for row in dense)
    assert (work.count * work.written).sum() == sum(row.output_bytes for row in dense)
    assert work.count.sum() == len(dense)
    assert work.other_count.sum() == len(rest)
    assert (work.other_count * work.other_values).sum() == sum(
        row.input_bytes + row.output_bytes for row in rest
    )
    assert work.project_values == sum(row.input_bytes for row in table if row.kind == "project")
    weights = totals(table).weight_bytes - sum(row.weight_bytes for row in rest)
    # A transposed convolution has one bias per output channel, and so does its product here.
    assert (work.count * work.weights).sum() == weights


def test_activations_are_told_apart():
    relu = get("YOLOv6-N").model
    for activation in ("silu", "lrelu"):
        work = work_of(replace(relu, activation=activation), 80, 320)
        assert getattr(work, activation).sum() > getattr(work_of(relu, 80, 320), activation).sum()
