import subprocess
import sys

import click
from click.testing import CliRunner

from foundation.cli import LazyGroup

group = LazyGroup(
    "tools", commands={"second": "tests.foundation.test_lazy_group:hello", "first": "nowhere:x"}
)


@click.command()
def hello() -> None:
    """Say hello."""
    click.echo("hello")


def test_a_subcommand_is_found_and_run():
    result = CliRunner().invoke(group, ["second"])
    assert result.output == "hello\n"


def test_names_keep_their_order_and_unknown_ones_are_refused():
    assert group.list_commands(click.Context(group)) == ["second", "first"]
    result = CliRunner().invoke(group, ["third"])
    assert result.exit_code == 2
    assert "No such command" in result.output


def test_only_the_subcommand_in_use_is_imported():
    code = (
        "import sys; from foundation.cli import LazyGroup\n"
        "group = LazyGroup('g', commands={'a': 'wave:open', 'b': 'colorsys:x'})\n"
        "group.get_command(None, 'a')\n"
        "print('wave' in sys.modules, 'colorsys' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True False\n"
