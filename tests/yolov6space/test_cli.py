"""`python -m yolov6space`: output, JSON, drawings, exit codes; and that describing needs no torch."""

import json
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import pytest

from yolov6space.cost import cost, layers
from yolov6space.variants import get, named


def run(*arguments):
    command = [sys.executable, "-m", "yolov6space", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def succeed(*arguments):
    done = run(*arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_list():
    text = succeed("list")
    assert all(name in text for name in named())
    rows = {row["name"]: row for row in json.loads(succeed("list", "--json"))}
    assert list(rows) == list(named())
    assert rows["YOLOv6-S"]["params"] == cost(get("S").model).params
    assert (rows["YOLOv6-S"]["published_ap"], rows["YOLOv6-S"]["official"]) == (43.5, True)


def test_describe_prints_every_layer_and_the_published_figures():
    text = succeed("describe", "m")
    assert "34.29 M deployed, 37.17 M in training" in text
    assert "81.47 G, 82.18 G as the paper counts" in text
    assert "arXiv 2209.02976, Table 1" in text
    lines = text.splitlines()
    for layer in layers(get("M").model):
        assert any(line.startswith(f"{layer.name} ") for line in lines)


def test_describe_as_json_and_from_a_file(tmp_path):
    named_one = json.loads(succeed("describe", "T", "--image-size", 320, "--classes", 3, "--json"))
    assert named_one["cost"]["flops"] == cost(get("T").model, num_classes=3, image_size=320).flops
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(named_one["candidate"]))
    from_file = json.loads(succeed("describe", "--spec", path, "--image-size", 320, "--classes", 3, "--json"))
    assert from_file["key"] == named_one["key"] == get("T").key
    assert from_file["layers"] == named_one["layers"]
    assert from_file["name"] == "mine"


def test_drawings(tmp_path):
    svg, png = tmp_path / "n.svg", tmp_path / "n.png"
    succeed("describe", "M", "--drawing", svg)
    succeed("describe", "M", "--drawing", png)
    texts = [element.text or "" for element in ElementTree.parse(svg).iter() if element.tag.endswith("text")]
    words = " ".join(texts)
    assert {"YOLOv6-M", "Backbone", "Head"} <= set(texts)
    model = get("M").model
    for stage in (*model.backbone, *model.neck):
        assert f"{stage.channels} channels ({stage.hidden_channels} inside)" in words
    assert "×5" in words  # repeats of stage 4
    assert png.read_bytes().startswith(b"\x89PNG")


WRONG = [
    (["describe", "X"], "no variant is called 'X'"),
    (["describe"], "give either the NAME of a network or --spec FILE.json"),
    (["describe", "N", "--spec", "x.json"], "give either the NAME"),
    (["describe", "N", "--image-size", "100"], "both sides must be multiples of 32"),
    (["describe", "N", "--classes", "0"], "'--classes'"),
    (["describe", "N", "--drawing", "n.gif"], "must end in .svg or .png"),
    (["describe", "N", "--drawing", "absent/n.svg"], "cannot write the drawing"),
    (["describe", "--spec", "absent.json"], "cannot read absent.json: No such file"),
    (["draw"], "No such command 'draw'"),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG)
def test_wrong_usage_is_one_line_and_exit_2(arguments, message):
    done = run(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


@pytest.mark.parametrize(("text", "message"), [("{", "is not JSON"), ("{}", "model must be an object")])
def test_wrong_spec_files(tmp_path, text, message):
    path = tmp_path / "bad.json"
    path.write_text(text)
    done = run("describe", "--spec", path)
    assert done.returncode == 2
    assert message in done.stderr


def test_help_has_examples():
    assert {"list", "describe", "import-upstream"} <= set(succeed("--help").split())
    assert "python -m yolov6space describe N" in succeed("describe", "--help")


@pytest.mark.parametrize(
    "use",
    [
        "import yolov6space.space, yolov6space.cost, yolov6space.variants, yolov6space.published",
        "import yolov6space.describe",
        "from yolov6space.space import Space; Space.paper(); Space.default()",
    ],
)
def test_describing_imports_nothing_heavy(use):
    heavy = ("torch", "numpy", "matplotlib", "optuna")
    code = f"{use}; import sys; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
