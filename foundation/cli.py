"""One way to run a click command: one-line errors, exit codes 0/1/2, `--json` on standard output."""

import errno
import importlib
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import click

from foundation.errors import UserError, WorkFailedError
from foundation.secrets import mask

TRACEBACK_VARIABLE = "YOLOV6_SEARCH_TRACEBACK"

json_option = click.option(
    "--json", "as_json", is_flag=True, help="Machine-readable result on standard output."
)
storage_option = click.option(
    "--storage",
    metavar="URL",
    help="Database. [default: $YOLOV6_SEARCH_STORAGE, else sqlite:///runs/search.db]",
)


class PathOption(click.Path):
    """A path, as `Path`. An empty text is none: it would be the current folder, which nobody asked for."""

    def __init__(self, *, file_okay: bool = True) -> None:
        super().__init__(path_type=Path, file_okay=file_okay)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Raises click.BadParameter for an empty text."""
        if value == "":
            self.fail("the path is empty; name a place, or . for the current folder", param, ctx)
        return super().convert(value, param, ctx)


class LazyGroup(click.Group):
    """A group whose subcommands are imported when they are used, so that `--help` stays fast.

    Args:
        commands: subcommand name -> where it lives, such as `evaluators.latency.command:latency_command`.
            `GROUP --help` imports them all, so their modules must defer heavy imports too.
    """

    def __init__(self, *args: Any, commands: Mapping[str, str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._locations = dict(commands)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order given."""
        return list(self._locations)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the subcommand; None when there is no such name."""
        location = self._locations.get(cmd_name)
        if location is None:
            return None
        module, _, attribute = location.partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command


def run(command: click.Command, program: str) -> NoReturn:
    """Run `command` as a program and leave with 0 (done), 1 (failed) or 2 (wrong usage or input).

    Args:
        program: name shown in `--help`, for example `python -m search.run`.
    """
    try:
        command.main(prog_name=program, standalone_mode=False)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.ctx.get_help() if error.ctx else "", err=True)
        sys.exit(2)
    except click.ClickException as error:
        _leave(error.format_message(), 2)
    except UserError as error:
        _leave(str(error), 2)
    except WorkFailedError as error:
        _leave(str(error), 1)
    except (click.Abort, KeyboardInterrupt):
        _leave("interrupted; what was stored until now is kept", 1)
    except Exception as error:
        if os.environ.get(TRACEBACK_VARIABLE):
            raise
        if is_disk_full(error):
            where = getattr(error, "filename", None)
            _leave(f"{f'{where}: ' if where else ''}no space left on the device: free some and run again", 2)
        if getattr(error, "errno", None) == errno.EFBIG or "os error 27" in str(error):
            _leave("a file may not grow larger here: raise the limit (ulimit -f) and run again", 2)
        if isinstance(error, OSError) and error.strerror:
            _leave(f"{error.filename or program}: {error.strerror}", 2)
        _leave(
            f"unexpected {type(error).__name__}: {error}; please report it, with the traceback that "
            f"{TRACEBACK_VARIABLE}=1 shows",
            1,
        )
    sys.exit(0)


def is_disk_full(error: BaseException) -> bool:
    """Whether an error says that the disk, or one's share of it, is full; some libraries say it in words alone."""
    return getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or any(
        words in str(error) for words in ("No space left on device", "os error 28", "disk is full")
    )


def progress(message: str) -> None:
    """Tell a person something; standard error, so that `--json` output stays clean."""
    click.echo(mask(message), err=True)


def print_json(result: Any) -> None:
    """Print the machine-readable result of a command."""
    click.echo(json.dumps(result, indent=2, allow_nan=False))


def _leave(message: str, code: int) -> NoReturn:
    click.echo(f"error: {mask(' '.join(message.split()))}", err=True)
    sys.exit(code)
