"""Reading labelled folders."""

import pytest

from hemaserve.cells import CellType, Kind
from hemaserve.errors import InvalidArgument
from hemaserve.evaluation.datasets import Finer, LabelledBox, read_cell_folders, read_voc, read_yolo
from hemaserve.geometry import Box


def annotation(*objects: tuple[str, int, int, int, int]) -> str:
    items = "".join(
        f"<object><name>{name}</name><bndbox><xmin>{a}</xmin><ymin>{b}</ymin><xmax>{c}</xmax><ymax>{d}</ymax>"
        "</bndbox></object>"
        for name, a, b, c, d in objects
    )
    return f"<annotation>{items}</annotation>"


def test_folders_are_named_after_types_leniently(tmp_path, write):
    for name in ("ig/1.webp", "NEUTROPHIL/2.JPG", "Eosinophils/3.png", "band/4.tiff"):
        write(name)
    types = {image.path.name: image.cell_type for image in read_cell_folders(tmp_path)}
    assert types == {
        "1.webp": CellType.IMMATURE_GRANULOCYTE,
        "2.JPG": CellType.NEUTROPHIL,
        "3.png": CellType.EOSINOPHIL,
        "4.tiff": CellType.NEUTROPHIL_BAND,
    }


def test_what_is_no_image_and_what_is_hidden_is_passed_over(tmp_path, write):
    for name in ("monocyte/1.png", "monocyte/notes.txt", "monocyte/.2.png", ".cache/3.png", "README.md"):
        write(name)
    assert [image.path.name for image in read_cell_folders(tmp_path)] == ["1.png"]


def test_a_folder_that_is_no_type_is_an_error_that_lists_the_types(tmp_path, write):
    write("monocyte/1.png")
    write("flowers/1.png")
    with pytest.raises(InvalidArgument, match=r"'flowers'.*neutrophil.*platelet"):
        read_cell_folders(tmp_path)


def test_a_file_name_may_begin_with_a_finer_type_than_its_folder(tmp_path, write):
    finest = {
        "neutrophil/BNE_1.webp": CellType.NEUTROPHIL_BAND,
        "neutrophil/sne_a_2.webp": CellType.NEUTROPHIL_SEGMENTED,
        "neutrophil/NEUTROPHIL_3.webp": CellType.NEUTROPHIL,
        "neutrophil/scan_4.webp": CellType.NEUTROPHIL,
        "neutrophil/5.webp": CellType.NEUTROPHIL,
        "ig/MMY_6.webp": CellType.METAMYELOCYTE,
        "myelocyte/IG_7.webp": CellType.MYELOCYTE,
        "monocyte/MO_8.webp": CellType.MONOCYTE,
    }
    for name in finest:
        write(name)
    images = read_cell_folders(tmp_path, finer=Finer.PREFIX)
    assert {i.path.relative_to(tmp_path).as_posix(): i.finest for i in images} == finest
    assert all(image.finest is image.cell_type for image in read_cell_folders(tmp_path))


@pytest.mark.parametrize("name", ["neutrophil/LY_1.png", "band/SNE_1.png"])
def test_a_file_name_that_contradicts_its_folder_is_an_error(tmp_path, write, name):
    write(name)
    with pytest.raises(InvalidArgument, match=f"{name}: its name says"):
        read_cell_folders(tmp_path, finer=Finer.PREFIX)


def test_folders_without_images_are_an_error(tmp_path):
    (tmp_path / "monocyte").mkdir()
    with pytest.raises(InvalidArgument, match="no images"):
        read_cell_folders(tmp_path)


def test_yolo_boxes_are_shares_of_the_image(tmp_path, write):
    write("images/1.jpg")
    write("labels/1.txt", "1 0.5 0.25 0.5 0.5\n\n2 0.9 0.9 0.2 0.2\n")
    (field,) = read_yolo(tmp_path)
    assert field.boxes[0] == LabelledBox(Box(0.25, 0.0, 0.75, 0.5), Kind.RBC)
    assert field.boxes[1].kind is Kind.PLATELET


def test_yolo_classes_may_mean_something_else(tmp_path, write):
    write("images/1.jpg")
    write("labels/1.txt", "0 0.5 0.5 0.5 0.5")
    (field,) = read_yolo(tmp_path, kinds=[Kind.PLATELET, Kind.RBC])
    assert field.boxes[0].kind is Kind.PLATELET


def test_an_image_without_a_label_file_shows_no_cell(tmp_path, write):
    write("images/1.jpg")
    write("images/2.jpg")
    write("labels/1.txt", "0 0.5 0.5 0.5 0.5")
    assert [len(field.boxes) for field in read_yolo(tmp_path)] == [1, 0]


def test_images_without_any_labels_are_an_error(tmp_path, write):
    write("images/1.jpg")
    write("labels/2.txt")
    with pytest.raises(InvalidArgument, match="no image with a label file"):
        read_yolo(tmp_path)


@pytest.mark.parametrize(
    "line", ["3 0.5 0.5 0.1 0.1", "-1 0 0 1 1", "0 0.5 0.5 0.1", "wbc 0 0 1 1", "0 a b c d"]
)
def test_a_line_that_cannot_be_read_is_named(tmp_path, write, line):
    write("images/1.jpg")
    write("labels/1.txt", f"0 0.5 0.5 0.5 0.5\n{line}\n")
    with pytest.raises(InvalidArgument, match=r"line 2 of 1\.txt"):
        read_yolo(tmp_path)


@pytest.mark.parametrize(
    ("splits", "wish", "read"),
    [
        ([""], None, ""),
        (["val"], None, "val"),
        (["test"], None, "test"),
        (["train", "val"], None, "val"),
        (["train", "val"], "train", "train"),
    ],
)
def test_splits_are_found(tmp_path, write, splits, wish, read):
    for split in splits:
        write(f"images/{split}/{split}.jpg" if split else "images/a.jpg")
        write(f"labels/{split}/{split}.txt" if split else "labels/a.txt", "0 0.5 0.5 0.5 0.5")
    (field,) = read_yolo(tmp_path, split=wish)
    assert field.path.stem == (read or "a")


@pytest.mark.parametrize("wish", [None, "val", ".."])
def test_a_split_that_cannot_be_told_is_an_error_that_lists_them(tmp_path, write, wish):
    for split in ("train", "test"):
        write(f"images/{split}/1.jpg")
        write(f"labels/{split}/1.txt", "0 0.5 0.5 0.5 0.5")
    with pytest.raises(InvalidArgument, match=r"--split.*test, train"):
        read_yolo(tmp_path, split=wish)


@pytest.mark.parametrize("reader", [read_yolo, read_voc])
def test_missing_folders_are_named(tmp_path, reader, write):
    with pytest.raises(InvalidArgument, match="'images'"):
        reader(tmp_path)
    write("images/1.jpg")
    with pytest.raises(InvalidArgument, match=r"'labels'|'annotations'"):
        reader(tmp_path)


def test_voc_corners_are_one_based_and_inclusive_and_empty_boxes_are_dropped(tmp_path, write):
    write("images/f.jpg")
    write(
        "annotations/f.xml",
        annotation(("WBC", 1, 1, 10, 20), ("RBC", 5, 5, 5, 9), ("Platelets", 3, 3, 4, 4)),
    )
    (field,) = read_voc(tmp_path)
    assert field.boxes == (
        LabelledBox(Box(0, 0, 10, 20), Kind.WBC),
        LabelledBox(Box(2, 2, 4, 4), Kind.PLATELET),
    )
    assert field.cell_types == ()


def test_types_of_a_field_are_read_as_bccd_writes_them(tmp_path, write):
    for name in ("a", "b", "c"):
        write(f"images/{name}.jpg")
        write(f"annotations/{name}.xml", annotation())
    write("wbc_types.csv", '\ufeffimage,wbc_types\na,"MONOCYTE, LYMPHOCYTE"\nb.jpg,"band"\nc,\n')
    assert [field.cell_types for field in read_voc(tmp_path)] == [
        (CellType.MONOCYTE, CellType.LYMPHOCYTE),
        (CellType.NEUTROPHIL,),
        (),
    ]


@pytest.mark.parametrize(
    ("table", "message"),
    [("image,types\na,x\n", "lacks a column"), ("image,wbc_types\na,rose\n", "line 2 of wbc_types.csv")],
)
def test_a_table_of_types_that_cannot_be_read_is_an_error(tmp_path, write, table, message):
    write("images/a.jpg")
    write("annotations/a.xml", annotation())
    write("wbc_types.csv", table)
    with pytest.raises(InvalidArgument, match=message):
        read_voc(tmp_path)


@pytest.mark.parametrize("text", ["", "<annotation>", annotation(("cat", 1, 1, 2, 2)), "<a><object/></a>"])
def test_an_annotation_that_cannot_be_read_is_named(tmp_path, write, text):
    write("images/a.jpg")
    write("annotations/a.xml", text)
    with pytest.raises(InvalidArgument, match=r"annotations/a\.xml"):
        read_voc(tmp_path)


def test_a_missing_annotation_is_named(tmp_path, write):
    write("images/a.jpg")
    write("annotations/b.xml", annotation())
    with pytest.raises(InvalidArgument, match=r"a\.jpg"):
        read_voc(tmp_path)
