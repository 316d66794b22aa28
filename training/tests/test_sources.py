"""The readers of the further data sets."""

from pathlib import Path

import pytest

from hemaserve.cells import CellType
from hemaserve.errors import InvalidArgument
from hemaserve.geometry import Box
from training.sources import bccd_cells, leukemia_fields, mooney_fields

_OBJECT = (
    "<object><name>{name}</name><bndbox><xmin>{x}</xmin><ymin>{y}</ymin><xmax>{right}</xmax><ymax>{y_max}</ymax>"
    "</bndbox></object>"
)


@pytest.fixture
def bccd(place, save_image):
    """Adds a field to BCCD's training side: the types its table lists, and the corners of its white cells."""
    folder = place.data / "bccd" / "train"
    rows = ["image,wbc_types"]

    def add(name: str, types: str, *corners: tuple[int, int, int, int]) -> Path:
        objects = [_OBJECT.format(name="WBC", x=x, y=y, right=r, y_max=b) for x, y, r, b in corners]
        objects.append(_OBJECT.format(name="RBC", x=1, y=1, right=9, y_max=9))
        path = folder / "annotations" / f"{name}.xml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"<annotation>{''.join(objects)}</annotation>")
        rows.append(f'{name},"{types}"')
        (folder / "wbc_types.csv").write_text("\n".join(rows) + "\n")
        return save_image(f"bccd/train/images/{name}.jpg", 64, 48)

    return add


def test_a_field_with_one_white_cell_gives_that_cell_in_pixels(bccd):
    path = bccd("field", "EOSINOPHIL", (11, 6, 30, 28))
    (cell,) = bccd_cells("train")
    assert cell.path == path
    # VOC's corners are 1-based and inclusive, ours 0-based and half open.
    assert cell.box == Box(10, 5, 30, 28)
    assert cell.cell_type is CellType.EOSINOPHIL


def test_cells_of_a_field_with_several_of_one_type_all_count(bccd):
    bccd("field", "NEUTROPHIL, NEUTROPHIL", (1, 1, 10, 10), (20, 20, 40, 40))
    assert [cell.cell_type for cell in bccd_cells("train")] == [CellType.NEUTROPHIL] * 2


@pytest.mark.parametrize(
    ("types", "boxes"),
    [
        ("NEUTROPHIL, LYMPHOCYTE", 2),
        ("NEUTROPHIL", 2),
        ("NEUTROPHIL, NEUTROPHIL", 1),
        ("NEUTROPHIL", 0),
        ("", 1),
    ],
    ids=["different types", "too few types", "too few boxes", "no box", "no type"],
)
def test_a_field_whose_cells_cannot_be_told_apart_is_left_out(bccd, types, boxes):
    bccd("sure", "MONOCYTE", (1, 1, 10, 10))
    bccd("unsure", types, *[(1 + 20 * i, 1, 10 + 20 * i, 10) for i in range(boxes)])
    assert [cell.path.stem for cell in bccd_cells("train")] == ["sure"]


def test_an_annotation_that_cannot_be_read_is_named(bccd, place):
    bccd("field", "MONOCYTE", (1, 1, 10, 10))
    (place.data / "bccd" / "train" / "annotations" / "field.xml").write_text("<annotation>")
    with pytest.raises(InvalidArgument, match=r"field\.xml"):
        bccd_cells("train")


def test_leukemia_fields_come_by_class_and_number_in_blocks_of_ten(save_image):
    for name in ("pro/0120", "benign/0019", "benign/0020", "early/0007", "pre/0010"):
        save_image(f"leukemia/val/{name}.webp")
    fields = leukemia_fields("val")
    assert [(field.label, field.path.stem, field.block) for field in fields] == [
        ("benign", "0019", 1),
        ("benign", "0020", 2),
        ("early", "0007", 0),
        ("pre", "0010", 1),
        ("pro", "0120", 12),
    ]


def test_a_missing_class_of_leukemia_fields_is_an_error_and_not_an_empty_one(save_image):
    save_image("leukemia/train/benign/0001.webp")
    with pytest.raises(FileNotFoundError, match="early"):
        leukemia_fields("train")


def test_mooney_fields_are_read_by_type_and_file_name(save_image):
    for name in ("neutrophil/12_345.jpg", "eosinophil/3_2.jpg", "eosinophil/3_1.jpg"):
        save_image(f"mooney/train/{name}")
    assert [(field.cell_type, field.path.name) for field in mooney_fields("train")] == [
        (CellType.EOSINOPHIL, "3_1.jpg"),
        (CellType.EOSINOPHIL, "3_2.jpg"),
        (CellType.NEUTROPHIL, "12_345.jpg"),
    ]


@pytest.mark.parametrize("read", [bccd_cells, leukemia_fields, mooney_fields])
def test_a_missing_folder_is_named_together_with_the_setting(place, read):
    with pytest.raises(FileNotFoundError, match="HEMASERVE_DATA"):
        read("train")
