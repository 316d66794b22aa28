"""Reading labelled folders. Nothing here opens an image; that is the services' part.

What is wrong with a folder is an `InvalidArgument` that names the file, as it lies below the folder that was given.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET

from hemaserve.cells import CellType, Kind, belongs_to, parse_cell_type, primary_of
from hemaserve.errors import InvalidArgument
from hemaserve.geometry import Box

IMAGE_SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp"})
YOLO_KINDS: Final = (Kind.WBC, Kind.RBC, Kind.PLATELET)
_KIND_NAMES: Final = {"wbc": Kind.WBC, "rbc": Kind.RBC, "platelet": Kind.PLATELET, "platelets": Kind.PLATELET}
_PREFERRED_SPLIT: Final = "val"


@dataclass(frozen=True, slots=True)
class CellImage:
    """An image with one cell in its middle.

    Attributes:
        cell_type: the type that its folder is named after.
        finest: the finest type that is known of it: `cell_type`, or one below that.
    """

    path: Path
    cell_type: CellType
    finest: CellType


@dataclass(frozen=True, slots=True)
class LabelledBox:
    """A box that somebody drew: in pixels, or as shares of the image's sides where the reader says so."""

    box: Box
    kind: Kind


@dataclass(frozen=True, slots=True)
class LabelledField:
    """A field, the boxes drawn in it, and the primary types of its white cells as far as they are known."""

    path: Path
    boxes: tuple[LabelledBox, ...]
    cell_types: tuple[CellType, ...] = ()


def images_in(folder: Path) -> list[Path]:
    """The image files directly in a folder, by name; hidden ones are none."""
    return sorted(
        path
        for path in folder.iterdir()
        # A link that leads nowhere is an image that cannot be read, and is to be told of.
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".") and not path.is_dir()
    )


def subfolders(folder: Path) -> list[Path]:
    """The folders directly in a folder, by name; hidden ones are none."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def wrong_folder(value: str, allowed: str) -> InvalidArgument:
    """The error for a folder that is not laid out as it should be."""
    return InvalidArgument("DIR", value, allowed, reason="DATASET_INVALID")


class Finer(StrEnum):
    """Where an image's label finer than its folder's type is to be found."""

    PREFIX = "prefix"
    """What stands before the first `_` in the file's name, e.g. `BNE` in `BNE_123.webp`."""


def read_cell_folders(folder: Path, *, finer: Finer | None = None) -> list[CellImage]:
    """Single-cell images in one folder a type; names are taken leniently (`ig`, `NEUTROPHIL`, `Eosinophils`).

    Args:
        finer: where to look for types finer than the folder's. A name that is no type, or that is none below the
            folder's, adds nothing to what the folder says.

    Raises:
        InvalidArgument: a folder's name is no cell type, a file's name contradicts it, or there is no image at all.
    """
    images: list[CellImage] = []
    for subfolder in subfolders(folder):
        try:
            cell_type = parse_cell_type(subfolder.name)
        except ValueError:
            known = ", ".join(CellType)
            raise wrong_folder(f"folder {subfolder.name!r} is named after no cell type", known) from None
        images += [
            CellImage(path, cell_type, cell_type if finer is None else _finest(path, cell_type))
            for path in images_in(subfolder)
        ]
    if not images:
        raise wrong_folder("no images in it", "one folder a cell type with images in it")
    return images


def _finest(path: Path, folder_type: CellType) -> CellType:
    """The finer of what the folder and the prefix of the file's name say."""
    try:
        named = parse_cell_type(path.stem.partition("_")[0])
    except ValueError:
        return folder_type
    if belongs_to(named, folder_type):
        return named
    if belongs_to(folder_type, named):
        return folder_type
    value = f"{path.parent.name}/{path.name}: its name says {named}, its folder {folder_type}"
    raise wrong_folder(value, "file names that agree with their folder, or no --finer")


def find_split(images: Path, split: str | None) -> str | None:
    """Which subfolder of `images/` to read: the one asked for, or None when the images lie in it directly.

    Without a wish, the only subfolder is taken, and of several the one named `val`.

    Raises:
        InvalidArgument: there is no such subfolder, or it cannot be told which of several is meant.
    """
    names = [path.name for path in subfolders(images)]
    if split is not None:
        if split not in names:
            raise InvalidArgument(
                "--split", repr(split), ", ".join(names) or "none: images/ has no subfolders"
            )
        return split
    if images_in(images) or not names:
        return None
    if len(names) > 1 and _PREFERRED_SPLIT not in names:
        raise InvalidArgument("--split", "none, where images/ has several subfolders", ", ".join(names))
    return names[0] if len(names) == 1 else _PREFERRED_SPLIT


def _images_folder(folder: Path) -> Path:
    images = folder / "images"
    if not images.is_dir():
        raise wrong_folder("no folder 'images' in it", "a folder with 'images' and labels")
    return images


def read_yolo(
    folder: Path, *, split: str | None = None, kinds: Sequence[Kind] = YOLO_KINDS
) -> list[LabelledField]:
    """Fields with labels in YOLO format: `images/[split/]NAME.jpg` beside `labels/[split/]NAME.txt`.

    A line is `class x y width height`, all but the class as shares of the image's sides, x and y the box's centre. An
    image without a label file shows no cell, as YOLO has it.

    Args:
        kinds: what class 0, 1, 2, ... mean.

    Returns:
        Fields whose boxes are shares of the image's sides, 0 to 1.

    Raises:
        InvalidArgument: folders are missing, a line cannot be read, or no image has labels.
    """
    images = _images_folder(folder)
    part = find_split(images, split) or ""
    labels = folder / "labels" / part
    if not labels.is_dir():
        raise wrong_folder(
            f"no folder {labels.relative_to(folder).as_posix()!r} in it", "labels in YOLO format"
        )
    fields: list[LabelledField] = []
    labelled = 0
    for path in images_in(images / part):
        label_file = labels / f"{path.stem}.txt"
        if label_file.is_file():
            labelled += 1
            fields.append(LabelledField(path, _yolo_boxes(label_file, kinds)))
        else:
            fields.append(LabelledField(path, ()))
    if not labelled:
        raise wrong_folder("no image with a label file", "labels/NAME.txt for images/NAME.jpg")
    return fields


def _yolo_boxes(label_file: Path, kinds: Sequence[Kind]) -> tuple[LabelledBox, ...]:
    boxes = []
    for number, line in enumerate(
        label_file.read_text(encoding="utf-8", errors="replace").splitlines(), start=1
    ):
        if not line.strip():
            continue
        try:
            class_text, *rest = line.split()
            x, y, width, height = map(float, rest)
            class_number = int(class_text)
            kind = kinds[class_number] if class_number >= 0 else None
        except (ValueError, IndexError):
            kind = None
        if kind is None:
            allowed = f"class 0 to {len(kinds) - 1}, then x, y, width and height"
            raise wrong_folder(f"line {number} of {label_file.name}: {line.strip()[:60]!r}", allowed)
        box = Box(x - width / 2, y - height / 2, x + width / 2, y + height / 2)
        boxes.append(LabelledBox(box, kind))
    return tuple(boxes)


def read_voc(folder: Path) -> list[LabelledField]:
    """Fields with PASCAL VOC labels: `images/NAME.jpg`, `annotations/NAME.xml` and, if there, `wbc_types.csv`.

    The CSV file has the columns `image` (NAME) and `wbc_types` (the types of the field's white cells, separated by
    commas). Empty boxes, which hasty annotators leave, are dropped. Corners are as VOC has them, 1-based and inclusive.

    Returns:
        Fields whose boxes are in pixels; types are primary ones.

    Raises:
        InvalidArgument: folders or annotations are missing, or a file cannot be read.
    """
    images = _images_folder(folder)
    annotations = folder / "annotations"
    if not annotations.is_dir():
        raise wrong_folder("no folder 'annotations' in it", "VOC annotations/NAME.xml for images/NAME.jpg")
    types = _wbc_types(folder / "wbc_types.csv")
    fields = []
    for path in images_in(images):
        annotation = annotations / f"{path.stem}.xml"
        if not annotation.is_file():
            raise wrong_folder(f"no annotation of {path.name}", f"annotations/{annotation.name}")
        fields.append(LabelledField(path, _voc_boxes(annotation), types.get(path.stem, ())))
    if not fields:
        raise wrong_folder("no images in it", "images/NAME.jpg")
    return fields


def _voc_boxes(annotation: Path) -> tuple[LabelledBox, ...]:
    boxes = []
    try:
        # The annotations are the user's own files, and Python's expat refuses entity bombs.
        for item in ET.parse(annotation).getroot().iterfind("object"):  # noqa: S314
            kind = _KIND_NAMES[item.findtext("name", "").strip().casefold()]
            x0, y0, x1, y1 = (
                float(item.findtext(f"bndbox/{corner}", "")) for corner in ("xmin", "ymin", "xmax", "ymax")
            )
            if x1 > x0 and y1 > y0:
                boxes.append(LabelledBox(Box(x0 - 1, y0 - 1, x1, y1), kind))
    except (ET.ParseError, KeyError, ValueError):
        allowed = "VOC objects named " + ", ".join(_KIND_NAMES) + ", each with a bndbox of four numbers"
        raise wrong_folder(f"annotations/{annotation.name} cannot be read", allowed) from None
    return tuple(boxes)


def _wbc_types(table: Path) -> dict[str, tuple[CellType, ...]]:
    if not table.is_file():
        return {}
    types: dict[str, tuple[CellType, ...]] = {}
    with table.open(newline="", encoding="utf-8-sig") as file:
        rows = csv.DictReader(file)
        if not {"image", "wbc_types"} <= set(rows.fieldnames or ()):
            raise wrong_folder("wbc_types.csv lacks a column", "columns image and wbc_types")
        for row in rows:
            names = [name for name in (row["wbc_types"] or "").split(",") if name.strip()]
            try:
                parsed = tuple(primary_of(parse_cell_type(name)) for name in names)
            except ValueError:
                raise wrong_folder(
                    f"line {rows.line_num} of wbc_types.csv: {row['wbc_types']!r}", ", ".join(CellType)
                ) from None
            name = Path((row["image"] or "").strip())
            types[name.stem if name.suffix.lower() in IMAGE_SUFFIXES else name.name] = parsed
    return types
