"""An empty path is refused by every command that writes somewhere."""

import importlib

import click
import pytest
from click.testing import CliRunner

from foundation.cli import PathOption

WRITERS = [
    "search.train:main",
    "search.qat:main",
    "search.export:main",
    "storage.__main__:export_command",
    "evaluators.data.convert_command:convert_command",
]


@pytest.mark.parametrize("location", WRITERS)
def test_an_empty_out_is_one_line_and_exit_2(location):
    module, _, name = location.partition(":")
    done = CliRunner().invoke(getattr(importlib.import_module(module), name), ["--out", ""])
    assert done.exit_code == 2
    errors = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 1 and "--out" in errors[0] and "the path is empty" in errors[0]


@pytest.mark.parametrize("text", ["a/b", ".", " "])
def test_any_other_is_a_path(text):
    kept = []

    @click.command()
    @click.option("--out", type=PathOption())
    def command(out):
        kept.append(out)

    assert CliRunner().invoke(command, ["--out", text]).exit_code == 0
    assert str(kept[0]) == text
