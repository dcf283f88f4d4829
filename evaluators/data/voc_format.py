"""Pascal VOC data sets: one .xml per image. The files are read by globox.

Two layouts: VOC's own (`Annotations`, `JPEGImages`, `ImageSets/Main/<split>.txt`), and a folder per split with
images and .xml files anywhere in it.
"""

from pathlib import Path

from evaluators.data.foreign import ForeignData, ForeignImage, Problems, box_of, image_size, images_in, listed
from foundation.errors import UserError

SPLIT_FOLDERS = {"train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",)}


def read_voc(source: Path) -> ForeignData:
    """Read all splits; classes are the names that occur, in alphabetical order.

    Boxes are taken as written: x1 = xmin, x2 = xmax. Objects marked `difficult` are boxes as any other.

    Raises:
        UserError: missing parts, or files that are no annotations: how many, and the first.
    """
    if not source.is_dir():
        raise UserError(f"{source}: a Pascal VOC data set is a folder; there is none")
    devkit = (source / "ImageSets" / "Main").is_dir()
    pairs, notes = (_of_devkit if devkit else _of_folders)(source)
    if not pairs:
        raise UserError(
            f"{source}: neither ImageSets/Main/train.txt nor a folder train/ with .xml files is in it; "
            "point --source at the folder that has them"
        )
    problems = Problems()
    splits = {
        split: tuple(_image(annotation, image, problems) for annotation, image in found)
        for split, found in pairs.items()
    }
    problems.refuse(source)
    names = {box[0] for images in splits.values() for image in images for box in image.boxes}
    return ForeignData(splits, tuple(sorted(names)), tuple(notes))


Pairs = dict[str, list[tuple[Path, Path | None]]]  # annotation file, image file


def _of_devkit(source: Path) -> tuple[Pairs, list[str]]:
    images = {path.stem: path for path in images_in(source / "JPEGImages")}
    pairs: Pairs = {}
    for split in SPLIT_FOLDERS:
        names = source / "ImageSets" / "Main" / f"{split}.txt"
        if names.is_file():
            stems = [
                line.split()[0] for line in names.read_text(encoding="utf-8").splitlines() if line.strip()
            ]
            pairs[split] = [(source / "Annotations" / f"{stem}.xml", images.get(stem)) for stem in stems]
    return pairs, []


def _of_folders(source: Path) -> tuple[Pairs, list[str]]:
    pairs: Pairs = {}
    notes = []
    for split, names in SPLIT_FOLDERS.items():
        folder = next((source / name for name in names if (source / name).is_dir()), None)
        files = sorted(folder.rglob("*.xml")) if folder else []
        if folder is None or not files:
            continue
        images = {path.stem: path for path in images_in(folder)}
        pairs[split] = [(path, images.pop(path.stem, None)) for path in files]
        if images:
            bare = [path.name for path in images.values()]
            notes.append(f"{split}: {len(bare)} images have no .xml and are left out ({listed(bare, 3)})")
    return pairs, notes


def _image(annotation: Path, path: Path | None, problems: Problems) -> ForeignImage:
    from globox import Annotation
    from globox.errors import ParsingError

    nothing = ForeignImage(path or annotation, 1, 1, ())
    if path is None:
        problems.add(annotation, "there is no image of this name; restore it or remove the annotation")
        return nothing
    if not annotation.is_file():
        problems.add(annotation, "is missing; restore it or remove its name from the split")
        return nothing
    try:
        width, height, turned = image_size(path)
    except ValueError as error:
        problems.add(path, f"{error}; replace it, or remove it with its annotation")
        return nothing
    try:
        read = Annotation.from_pascal_voc(annotation)
        boxes = tuple(box_of(box) for box in read.boxes)
    except (ParsingError, AssertionError, ValueError, UnicodeDecodeError) as error:
        problems.add(annotation, f"not a Pascal VOC annotation ({error})")
        return nothing
    if read.image_size != (width, height):
        if turned and read.image_size == (height, width):
            problems.add(
                path, "was annotated as EXIF turns it; store the pixels turned (`mogrify -auto-orient`)"
            )
        else:
            told = "x".join(map(str, read.image_size or ()))
            problems.add(annotation, f"says the image is {told} pixels, but it is {width}x{height}")
    return ForeignImage(path, width, height, boxes)
