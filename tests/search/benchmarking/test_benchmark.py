"""The command over a small table, and its figures against a slow count."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from foundation.errors import UserError
from search.benchmark import main
from search.benchmarking.score import Yardstick
from search.benchmarking.table import read_table
from tests.search.samplers.test_latency_aware import table


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    small = table()
    path = tmp_path / "small.csv"
    names = list(small.choices)
    lines = [",".join([*names, *small.columns])]
    for row, params in enumerate(small.params):
        cells = [str(params.get(name, "")) for name in names]
        lines.append(",".join([*cells, *(repr(float(column[row])) for column in small.columns.values())]))
    path.write_text("\n".join(lines))
    return path


def run(csv: Path, *options: str) -> dict[str, object]:
    task = ["--table", str(csv), "--maximize", "ap", "--minimize", "ms", "--limit", "ms=6", "--json"]
    result = CliRunner().invoke(main, [*task, *options], catch_exceptions=False)
    found: dict[str, object] = json.loads(result.stdout)
    return found


def test_reads_what_was_written(csv: Path) -> None:
    read = read_table(csv)
    assert read.keys == table().keys and read.choices == table().choices
    assert np.array_equal(read.columns["ap"], table().columns["ap"])


def test_ours_and_baselines_keep_the_rules(csv: Path, tmp_path: Path) -> None:
    plot = tmp_path / "curve.png"
    options = (
        "--cheap",
        "ms",
        "--budget",
        "12",
        "--seeds",
        "2",
        "--baselines",
        "tpe,nsga2",
        "--plot",
        str(plot),
    )
    found = run(csv, *options)
    lines = {line["sampler"]: line for line in found["results"]}  # type: ignore[attr-defined]
    assert set(lines) == {"latency-aware", "tpe", "nsga2"} and plot.stat().st_size > 1000
    for line in lines.values():
        assert line["infeasible"] == 0.0 and 0.0 < line["share"] <= 1.0 and line["regret"] >= 0.0
    assert lines["latency-aware"]["invalid"] == lines["latency-aware"]["repeated"] == 0
    assert lines["latency-aware"]["share"] > 0.8


def test_low_fidelity_and_noise(csv: Path) -> None:
    options = ("--cheap", "ms", "--cheap-noise", "5%", "--low-fidelity", "quick=0.1", "--budget", "8")
    found = run(csv, *options, "--seeds", "1", "--baselines", "none")
    (line,) = found["results"]  # type: ignore[misc]
    assert line["cheaper_cost"] > 0.5 and line["evaluations"] == 8


def test_figures() -> None:
    measure = Yardstick(np.array([1.0, 2.0, 4.0, 9.0]), np.array([1.0, 2.0, 3.0, 5.0]), 4.0)
    assert measure.best == 4.0
    assert measure.share(np.array([0, 1, 2, 3])) == 1.0
    assert measure.share(np.array([2])) == pytest.approx(3.0 / 4.0)
    assert measure.regret(np.array([1])) == 2.0 and measure.regret(np.array([3])) == 3.0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--cheap", "nothing"), "no such column"),
        (("--limit", "ms=0.1"), "nothing in the table"),
        (("--limit", "ap=1"), "--minimize"),
        (("--baselines", "magic"), "choose all"),
        (("--low-fidelity", "quick=3"), "between 0 and 1"),
        (("--limit", "ms=inf"), "a limit is a finite number"),
        (("--maximize", "ms"), "the same column"),
        (("--cheap", "ap"), "nothing is left to find out"),
        (("--plot", "/"), "is a folder"),
    ],
)
def test_wrong_input_is_one_line(csv: Path, options: tuple[str, ...], words: str) -> None:
    with pytest.raises(UserError, match=words):
        run(csv, *options)


def test_tables_that_cannot_be_searched(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,b\n1,2\n3,4\n")
    with pytest.raises(UserError, match="parameter column"):
        read_table(path)
    path.write_text("p_a,p_a,b\n1,2,3\n3,4,5\n")
    with pytest.raises(UserError, match="two columns are called p_a"):
        read_table(path)
    path.write_text("p_a,b\n1,2\n1,4\n")
    with pytest.raises(UserError, match="repeat"):
        read_table(path)


@pytest.mark.parametrize(
    ("cell", "words"), [("nan", "row 2: an empty cell"), ("inf", "row 2: 'inf'"), ("abc", "row 2: 'abc'")]
)
def test_a_cell_that_is_no_number_is_named(tmp_path: Path, cell: str, words: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(f"p_a,b\n1,2\n3,{cell}\n5,6\n")
    with pytest.raises(UserError, match=f"--maximize b: t.csv, {words} is no finite number"):
        read_table(path).column("b", "--maximize")
