"""The front: its numbers by equality, its drawings by what is in them."""

import struct

import pytest

from charts.front import (
    FrontPoint,
    PublishedPoint,
    front_figure,
    front_info,
    front_png,
    published_figure,
    write_html,
)
from charts.info import describe, precision_label
from charts.style import GROUPS
from storage import Repository
from tests.storage.demo import TARGET_MS, seed_demo

PUBLISHED = (
    PublishedPoint("YOLOv6-S", 0.435, 2.8, "Table 1"),
    PublishedPoint("YOLOv6-N", 0.359, 1.2, "Table 1"),
)
GROUP_NAMES = ("deployed", "official", "over", "official_over")


@pytest.fixture(scope="module")
def trials(tmp_path_factory):
    url = f"sqlite:///{tmp_path_factory.mktemp('charts')}/demo.db"
    with Repository.open(url) as repository:
        return repository.trials(seed_demo(repository).id)


@pytest.fixture(scope="module")
def info(trials):
    return front_info(trials, PUBLISHED, TARGET_MS)


def test_every_deployed_trial_is_in_one_group(trials, info):
    deployed = {t.number for t in trials if t.deployed is not None}
    grouped = [point.number for name in GROUP_NAMES for point in getattr(info, name)]
    assert sorted(grouped) == sorted(deployed)
    assert {p.title for p in info.official} == {"YOLOv6-N"}
    assert {p.title for p in info.official_over} == {"YOLOv6-T", "YOLOv6-S"}
    assert all(p.latency_ms <= TARGET_MS for p in info.deployed + info.official)
    assert all(p.latency_ms > TARGET_MS for p in info.over + info.official_over)


def test_a_point_carries_what_was_stored(trials, info):
    trial = trials[0]
    point = info.official[0]
    assert point == FrontPoint(
        number=0,
        title="YOLOv6-N",
        ap=trial.deployed.ap,
        latency_ms=8.1,
        low_ms=trial.deployed_latency.low_ms,
        high_ms=trial.deployed_latency.high_ms,
        estimated=False,
        details=point.details,
    )
    details = dict(point.details)
    assert details["precision"] == "fp32"
    assert details["protocol"] == "data made-up, split val, image size 320, conf threshold 0.03"
    assert details["latency"] == "measured"
    assert details["FLOPs"] == f"{trial.flops / 1e9:.2f} G"


def test_front_is_the_best_ap_within_each_latency(info):
    feasible = info.deployed + info.official
    for point in info.front:
        assert point.ap == max(p.ap for p in feasible if p.latency_ms <= point.latency_ms)
    assert info.best.ap == max(p.ap for p in feasible)
    assert [p.latency_ms for p in info.front] == sorted(p.latency_ms for p in info.front)


def test_those_too_slow_to_be_trained_are_counted(trials, info):
    assert info.not_deployed == sum(t.state == "infeasible" for t in trials) > 0


def test_without_a_limit_nothing_is_over_it(trials):
    free = front_info(trials)
    assert free.over == free.official_over == ()
    assert free.target_ms is None
    assert "limit" not in front_figure(free).to_json()


def test_the_axis_is_logarithmic_only_where_latencies_spread_widely(trials, info):
    assert not info.log_latency
    wide = front_info(trials)._replace(log_latency=True, target_ms=TARGET_MS)
    figure = front_figure(wide)
    assert figure.layout.xaxis.type == "log"
    # the label of the limit has to be where the line is: positions on a log axis are exponents
    assert 10 ** figure.layout.annotations[0].x == pytest.approx(TARGET_MS)


def test_figure_draws_each_group_once_and_nothing_published(info):
    figure = front_figure(info)
    drawn = {trace.name: trace for trace in figure.data}
    labels = [GROUPS[name].label for name in GROUP_NAMES if getattr(info, name)]
    assert set(drawn) == {"Pareto front", *labels}
    assert list(drawn[GROUPS["deployed"].label].x) == [p.latency_ms for p in info.deployed]
    assert "ms" in figure.layout.xaxis.title.text and "AP" in figure.layout.yaxis.title.text
    assert "Table 1" not in figure.to_json()
    ends = drawn["Pareto front"].x
    assert (ends[0], ends[-1]) == (info.front[0].latency_ms, TARGET_MS)


def test_published_figures_have_axes_of_their_own_that_name_the_device(info):
    figure = published_figure(info)
    assert list(figure.data[0].x) == [1.2, 2.8]
    assert "Tesla T4" in figure.layout.xaxis.title.text
    assert "not comparable" in figure.layout.title.text


def test_names_cannot_smuggle_markup_into_the_page(trials, tmp_path):
    evil = front_info(trials, target_ms=TARGET_MS)
    evil = evil._replace(official=(evil.official[0]._replace(title="<script>alert(1)</script>"),))
    write_html(evil, tmp_path / "front.html", title="<b>")
    page = (tmp_path / "front.html").read_text()
    assert "<script>alert(1)" not in page and "<title><b>" not in page


def test_page_opens_offline(info, tmp_path):
    write_html(info, tmp_path / "new" / "front.html")
    page = (tmp_path / "new" / "front.html").read_text()
    assert "Plotly.newPlot" in page and len(page) > 1_000_000  # the script itself is inside
    assert '<script src="http' not in page and "cdn.plot.ly" not in page.split("Plotly.newPlot")[-1]


@pytest.mark.parametrize("published", [(), PUBLISHED])
def test_png_is_a_picture_of_the_right_size(trials, published, tmp_path):
    path = tmp_path / "front.png"
    front_png(front_info(trials, published, TARGET_MS), path)
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", data[16:24])
    assert (width, height) == (1725 if published else 1230, 780)


@pytest.mark.filterwarnings("error")
def test_nothing_deployed_is_said_and_not_an_error(tmp_path):
    for target in (None, 8.8):
        empty = front_info([], target_ms=target)
        assert empty.front == () and empty.best is None
        assert "nothing has been deployed yet" in front_figure(empty).to_json()
        front_png(empty, tmp_path / "empty.png")
        write_html(empty, tmp_path / "empty.html")
        assert (tmp_path / "empty.png").stat().st_size > 1000


def test_labels():
    assert (
        precision_label({"precision": {"kind": "int8", "scheme": "ptq", "float_layers": 3}}) == "int8 ptq +3f"
    )
    assert precision_label({"precision": {"kind": "int8", "scheme": "qat", "float_layers": 0}}) == "int8 qat"
    assert precision_label({}) == ""
    assert describe({"image_size": 320, "iou": 0.65, "nested": {"a": 1}}) == "image size 320, iou 0.65"


@pytest.mark.parametrize(
    ("ap", "least"), [((0.53,), 0.1), ((0.529, 0.531), 0.1), ((0.01,), 0.1), ((0.2, 0.6), 0.4)]
)
def test_equal_networks_do_not_look_far_apart(info, ap, least):
    points = tuple(info.official[0]._replace(ap=value) for value in ap)
    low, high = info._replace(deployed=points, official=(), over=(), official_over=()).ap_range
    assert low < min(ap) and high > max(ap)
    assert high - low == pytest.approx(1.24 * least)
    assert low > -0.01
