from dataclasses import replace

import numpy as np
import pytest

from evaluators.estimate.case import Case
from evaluators.estimate.fit import leave_out
from evaluators.estimate.t4 import distinct, estimate_t4, published_rows
from evaluators.estimate.tensorrt_time import RUNTIMES, TensorRtTime
from foundation.errors import UserError
from yolov6space.candidate import Precision
from yolov6space.variants import get, scaled_model

FP16 = Precision(kind="fp16")


def int8(float_layers=0):
    metric = "mse" if float_layers else None
    return Precision(kind="int8", scheme="ptq", float_layers=float_layers, metric=metric)


def ms(name="YOLOv6-S", **changes):
    model = changes.pop("model", get(name).model)
    return estimate_t4(Case(model=model, precision=changes.pop("precision", FP16), **changes)).value_ms


def test_published_rows_are_those_of_known_networks_with_their_own_head():
    rows = published_rows()
    by_name = {row.name for row in rows}
    assert "YOLOv6-L, table18" in by_name
    assert not any("YOLOX" in name or "release-0.2.0" in name for name in by_name)
    with_dfl = [row for row in rows if row.name == "YOLOv6-N, table10" and row.case.model.use_dfl]
    assert [round(32e3 / row.ms) for row in with_dfl] == [1022]  # not DFLv2's 819
    assert {row.case.runtime for row in rows} == set(RUNTIMES)


def test_reprints_count_once():
    rows, cases = published_rows(), distinct(published_rows())
    assert len({row.case for row in rows}) == len(cases) < len(rows)
    nano = [row.ms for row in rows if row.case == next(c.case for c in cases if c.name == "YOLOv6-N, table1")]
    found = next(one.ms for one in cases if one.name == "YOLOv6-N, table1")
    assert min(nano) <= found <= max(nano)


def test_speeds_left_out_are_estimated_within_the_bars():
    rows = [row for row in distinct(published_rows()) if row.case.precision == FP16]
    found = leave_out(TensorRtTime(), rows, lambda row: row.case)
    errors = np.array([abs(one.value_ms / row.ms - 1) for row, one in zip(rows, found, strict=True)])
    held = np.mean([one.low_ms <= row.ms <= one.high_ms for row, one in zip(rows, found, strict=True)])
    assert errors.mean() <= 0.05
    assert errors.max() <= 0.12
    assert 0.80 <= held <= 0.97


def test_physics():
    assert ms("YOLOv6-N") < ms("YOLOv6-S") < ms("YOLOv6-M") < ms("YOLOv6-L")
    assert ms() < ms(batch=32) < 32 * ms(), "a batch shares launches and fills the processors"
    assert ms(image_size=320) < ms(image_size=640) < ms(image_size=1280)
    assert ms(precision=int8()) < ms(precision=int8(6)) < ms()
    relu = get("YOLOv6-M").model
    silu, dfl = replace(relu, activation="silu"), replace(relu, reg_max=0)
    assert ms(model=dfl, batch=32) < ms(model=relu, batch=32) < ms(model=silu, batch=32)
    dear = ms(model=silu, runtime="TensorRT 7.2") / ms(model=relu, runtime="TensorRT 7.2")
    cheap = ms(model=silu, runtime="TensorRT 8.2") / ms(model=relu, runtime="TensorRT 8.2")
    assert cheap < dear


def test_channels_beyond_a_tile_are_paid_for():
    narrow, wide = (scaled_model(width=width, depth=0.33) for width in (0.375, 0.5))
    share = (0.375 / 0.5) ** 2
    assert ms(model=narrow, batch=32) / ms(model=wide, batch=32) > share + 0.1


def test_what_was_never_published_is_refused_or_doubted():
    with pytest.raises(UserError, match="fp16 and int8 only"):
        ms(precision=Precision(kind="fp32"))
    with pytest.raises(UserError, match=r"TensorRT 7\.2"):
        ms(runtime="TensorRT 5.0")
    case = Case(model=get("YOLOv6-S").model, precision=FP16)
    usual, unusual = estimate_t4(case), estimate_t4(replace(case, batch=4))
    assert usual.high_ms / usual.value_ms < unusual.high_ms / unusual.value_ms
    assert "estimated" in usual.source
    assert "TensorRT 8.4" in usual.source
