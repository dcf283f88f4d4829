"""The image files of a split: are they there, and do their headers agree with the annotations?"""

from collections.abc import Sequence
from pathlib import Path

from evaluators.data.detection_data import ImageRecord
from foundation.errors import UserError

# Opening a header takes some 50 µs; a very large set is sampled here and every image is checked when read.
HEADERS_PER_SPLIT = 2000
# EXIF orientations that exchange width and height.
TURNED = (5, 6, 7, 8)


def file_sizes(images: Sequence[ImageRecord], split: str) -> tuple[int, ...]:
    """Size of every file in bytes. Raises UserError with the count and the first when files are missing."""
    sizes = []
    missing = []
    for image in images:
        try:
            sizes.append(image.path.stat().st_size)
        except OSError:
            missing.append(image.path)
    if missing:
        raise UserError(
            f"{split}: {len(missing)} of {len(images)} image files are missing (first: {missing[0]}); "
            "restore them or remove them from the annotations"
        )
    return tuple(sizes)


def check_headers(images: Sequence[ImageRecord], split: str, at_most: int = HEADERS_PER_SPLIT) -> None:
    """Raises UserError for the first image whose header is unreadable or gives another size than the JSON."""
    step = max(1, -(-len(images) // at_most))
    for image in images[::step]:
        width, height, turned = _header(image.path, split)
        if (width, height) == (image.width, image.height):
            continue
        if turned and (height, width) == (image.width, image.height):
            raise UserError(
                f"{split}: {image.path}: the annotations were made on the image as EXIF turns it; store the "
                "pixels turned (for example with `mogrify -auto-orient`), COCO boxes refer to stored pixels"
            )
        raise UserError(
            f"{split}: {image.path} is {width}x{height} pixels but the annotations say "
            f"{image.width}x{image.height}; put back the annotated image or correct the JSON"
        )


def _header(path: Path, split: str) -> tuple[int, int, bool]:
    from PIL import Image  # reads the header only; OpenCV would decode the whole image

    try:
        with Image.open(path) as image:
            return image.width, image.height, image.getexif().get(0x0112, 1) in TURNED
    except Image.DecompressionBombError as error:
        raise UserError(
            f"{split}: {path} has too many pixels to be read safely ({error}); make it smaller"
        ) from error
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError(f"{split}: {path} is not a readable image; replace it or remove its entry") from error
