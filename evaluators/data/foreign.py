"""Annotations of another format, as read: what every reader gives to the conversion."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evaluators.data.image_files import TURNED
from foundation.errors import UserError

IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")


@dataclass(frozen=True, slots=True)
class ForeignImage:
    """One image; `boxes` are (class name, x1, y1, x2, y2) in pixels, as annotated."""

    path: Path
    width: int
    height: int
    boxes: tuple[tuple[str, float, float, float, float], ...]


@dataclass(frozen=True, slots=True)
class ForeignData:
    """Splits by our names (train, val, test); `notes` are lines for a person about what was found."""

    splits: dict[str, tuple[ForeignImage, ...]]
    class_names: tuple[str, ...]
    notes: tuple[str, ...] = ()


@dataclass
class Problems:
    """Collects what is wrong, so that one run names how much there is and nothing is left out silently."""

    lines: list[str] = field(default_factory=list)

    def add(self, where: Path | str, what: str) -> None:
        """One problem."""
        self.lines.append(f"{where}: {what}")

    def refuse(self, source: Path) -> None:
        """Raises UserError when there were any: the count and the first."""
        if self.lines:
            count = len(self.lines)
            first = self.lines[0] if count == 1 else f"{count} problems, the first: {self.lines[0]}"
            raise UserError(f"{source}: {first}; correct it and convert again")


def image_size(path: Path) -> tuple[int, int, bool]:
    """Width and height as stored, and whether EXIF exchanges them.

    Raises:
        ValueError: not a readable image; the text says so.
    """
    from PIL import Image

    try:
        with Image.open(path) as image:
            return image.width, image.height, image.getexif().get(0x0112, 1) in TURNED
    except Image.DecompressionBombError as error:
        raise ValueError("too many pixels to be read safely") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise ValueError("not a readable image") from error


def box_of(read: Any) -> tuple[str, float, float, float, float]:
    """A box of the reader library as plain values."""
    return str(read.label), float(read.xmin), float(read.ymin), float(read.xmax), float(read.ymax)


def images_in(folder: Path) -> list[Path]:
    """All image files below a folder, in order of their names."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_ENDINGS)


def listed(names: Sequence[str], most: int = 5) -> str:
    """Some names and how many more."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
