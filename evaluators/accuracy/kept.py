"""Detections on disk while a split is judged, so that an interrupted judgement goes on where it ended.

A file of JSON lines: first what the detections are of, then one line per image. A line that a crash left
unfinished is left out, and its image is run again.
"""

import contextlib
import json
import os
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, TextIO

from evaluators.accuracy.detections import ImageDetections
from foundation.errors import UserError

KEPT_DAYS = 14


class KeptDetections:
    """Those of an earlier, interrupted judgement of the same thing (`found`), and those added since."""

    def __init__(self, path: Path, key: Mapping[str, Any]) -> None:
        """Open the file, or begin it anew where it is absent or of another `key` (plain JSON values).

        Raises:
            UserError: the place cannot be written.
        """
        self.path = path
        first = json.dumps(key, sort_keys=True) + "\n"
        self.found = _read(path, first)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _sweep(path.parent)
            fresh = path.with_name(f"{path.name}.{os.getpid()}.new")
            with fresh.open("w", encoding="utf-8") as file:
                file.write(first)
                file.writelines(_line(one) for one in self.found.values())
            fresh.replace(path)
            self._file: TextIO = path.open("a", encoding="utf-8")
        except (PermissionError, NotADirectoryError, FileExistsError) as error:
            raise UserError(
                f"{path.parent}: cannot keep unfinished results here ({error.strerror}); set "
                "YOLOV6_SEARCH_CACHE to a folder that can be written"
            ) from error

    def add(self, one: ImageDetections) -> None:
        """Keep the detections of one more image; they are with the operating system on return."""
        self.found[one.image_id] = one
        self._file.write(_line(one))
        self._file.flush()

    def close(self, *, judged: Collection[int] = ()) -> None:
        """Let go of the file. It goes when all it holds was judged: then no interrupted run of more images needs it.

        Args:
            judged: ids of the images of a judgement that is complete.
        """
        self._file.close()
        if judged and self.found.keys() <= set(judged):
            self.path.unlink(missing_ok=True)


def _line(one: ImageDetections) -> str:
    return json.dumps(one.to_dict()) + "\n"


def _sweep(folder: Path) -> None:
    """Delete what nobody has come back to for `KEPT_DAYS`."""
    oldest = time.time() - KEPT_DAYS * 86400
    for path in folder.glob("*.jsonl*"):
        with contextlib.suppress(OSError):  # another process was first
            if path.stat().st_mtime < oldest:
                path.unlink()


def _read(path: Path, first: str) -> dict[int, ImageDetections]:
    found: dict[int, ImageDetections] = {}
    try:
        with path.open(encoding="utf-8") as file:
            if file.readline() != first:
                return {}
            for line in file:
                one = ImageDetections.from_dict(json.loads(line))
                found[one.image_id] = one
    except (OSError, ValueError, KeyError, TypeError):  # absent, or cut off in the middle of a line
        return found
    return found
