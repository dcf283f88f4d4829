"""Command lines: help, bad input in one line with exit code 2."""

import subprocess
import sys

import click
import pytest

from search.units import DURATION_S, LATENCY_MS

BAD = [
    (["--target-latency", "8.8"], "unit is missing"),
    (["--target-latency", "8,8ms"], "decimal mark"),
    (["--target-latency=-1ms"], "more than zero"),
    (["--target-latency", "0ms"], "more than zero"),
    (["--target-latency", "fast"], "8.8ms"),
    (["--target-latency", "8.8km"], "unknown unit"),
    ([], "--target-latency"),
    (["--target-latency", "8.8ms", "--hardware", "abacus"], "abacus"),
    (["--target-latency", "8.8ms", "--time-budget", "soon"], "30m"),
    (["--target-latency", "8.8ms", "--image-size", "300"], "multiple of 32"),
    (["--target-latency", "8.8ms", "--data", "no/such/folder"], "no/such/folder"),
    (["--target-latency", "8.8ms", "--space", "no/such/space.yaml"], "no/such/space.yaml"),
    (["--target-latency", "8.8ms", "--space", "paper"], "cannot do"),
    (["--target-latency", "8.8ms", "--sampler", "oracle"], "oracle"),
    (["--target-latency", "8.8ms", "--storage", "mysql://u:secret@h/d"], "mysql"),
    (["--target-latency", "8.8ms", "--resume", "--study", "nobody"], "there is no database at"),
    (["--target-latency", "8.8ms", "--study", "../outside"], "--study"),
    (["--target-latency", "8.8ms", "--study", ""], "--study"),
    (["--target-latency", "8.8ms", "--seed", "9" * 23], "--seed"),
    (["--target-latency", "9" * 400 + "ms"], "too large"),
    (["--target-latency", "8.8ms", "--storage", "me:secret@host/db"], "database URL"),
    (["--target-latency", "8.8ms", "--storage", "postgresql://127.0.0.1:1/db?password=secret"], "127.0.0.1"),
]


def run_module(module: str, *arguments: str, cwd: object = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", module, *arguments], capture_output=True, text=True, check=False, cwd=cwd
    )


@pytest.mark.parametrize(("arguments", "hint"), BAD)
def test_bad_input_is_one_line_and_exit_2(arguments: list[str], hint: str, tmp_path: object) -> None:
    done = run_module("search.run", *arguments, cwd=tmp_path)
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert done.returncode == 2, done.stderr
    assert len(errors) == 1 and hint in errors[0]
    assert "Traceback" not in done.stderr and "secret" not in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    "module",
    [
        "search.run",
        "search.train",
        "search.qat",
        "search.export",
        "search.variants",
        "yolov6space",
        "storage",
    ],
)
def test_help_needs_nothing_heavy(module: str) -> None:
    code = (
        f"import sys, runpy; sys.argv = ['x', '--help']\n"
        f"try: runpy.run_module({module!r}, run_name='__main__')\n"
        "except SystemExit as stop: assert stop.code in (0, None), stop.code\n"
        "heavy = {'torch', 'ray', 'optuna', 'modelopt', 'openvino', 'streamlit', 'cv2', 'pandas'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Usage:" in done.stdout


@pytest.mark.parametrize(
    ("text", "value"), [("8.8ms", 8.8), ("8.8 MS", 8.8), ("0.5s", 500.0), ("900us", 0.9)]
)
def test_latency(text: str, value: float) -> None:
    assert LATENCY_MS.convert(text, None, None) == pytest.approx(value)


@pytest.mark.parametrize(("text", "value"), [("30m", 1800), ("1h30m", 5400), ("90s", 90), ("2 h", 7200)])
def test_duration(text: str, value: float) -> None:
    assert DURATION_S.convert(text, None, None) == pytest.approx(value)


@pytest.mark.parametrize("text", ["1ms2ms", "", "ms", "1e3ms", "nan ms", "1..2ms"])
def test_no_latency(text: str) -> None:
    with pytest.raises(click.BadParameter):
        LATENCY_MS.convert(text, None, None)
