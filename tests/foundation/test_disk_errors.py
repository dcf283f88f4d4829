"""A disk that is full, or a file that may not grow, ends a command in one line."""

import errno
import os

import click
import pytest

from foundation.cli import run


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOSPC, "out.bin: no space left on the device"),
        (errno.EDQUOT, "out.bin: no space left on the device"),
        (errno.EFBIG, "raise the limit"),
        (errno.EROFS, "out.bin: read-only"),
    ],
)
def test_what_to_do_is_said(
    number: int, said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["write"])

    @click.command()
    def write() -> None:
        raise OSError(number, os.strerror(number), "out.bin")

    with pytest.raises(SystemExit) as left:
        run(write, "python -m write")
    told = capsys.readouterr().err
    assert left.value.code == 2
    assert said.lower() in told.lower() and told.count("\n") == 1
