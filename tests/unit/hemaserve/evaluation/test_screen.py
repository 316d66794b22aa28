"""Evaluating the leukemia screen: folders, figures, and the command."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from hemaserve.cells import CellType, Kind
from hemaserve.cli.main import app
from hemaserve.errors import InvalidArgument
from hemaserve.evaluation.metrics import auroc, auroc_interval
from hemaserve.evaluation.screen_folders import read_screen_folders
from hemaserve.evaluation.screen_report import ScreenedField, screen_report
from hemaserve.geometry import Box
from hemaserve.results import Cell, Classification, ScreenFinding

CLASSES = ("benign", "early", "pre", "pro")


def finding(*probabilities, flagged=None):
    flagging = sum(probabilities[1:])
    return ScreenFinding(
        flagged=flagging >= 0.5 if flagged is None else flagged,
        probability=flagging,
        classes=dict(zip(CLASSES, probabilities, strict=True)),
    )


def cell(*, flagged, cell_type=CellType.LYMPHOCYTE, identified=True, kind=Kind.WBC):
    said = Classification(identified, cell_type, cell_type, 0.9, {})
    screen = ScreenFinding(flagged, 0.9 if flagged else 0.1, {}) if kind is Kind.WBC else None
    return Cell("c", Box(0, 0, 9, 9), kind, 0.9, classification=said, screen=screen)


def field(label, found, *cells):
    return ScreenedField(label, label != "benign", found, cells)


def test_sensitivity_and_specificity_are_those_of_the_flag_and_accuracy_of_the_class():
    report = screen_report(
        [
            field("benign", finding(0.9, 0.1, 0, 0)),
            field("benign", finding(0.4, 0.6, 0, 0)),
            field("early", finding(0.1, 0.8, 0.1, 0)),
            field("pre", finding(0.1, 0.8, 0.1, 0)),
            field("pro", finding(0.8, 0, 0, 0.2)),
        ],
        seconds=1.0,
    )
    assert (report.n, report.malignant, report.benign) == (5, 3, 2)
    assert report.sensitivity == pytest.approx(2 / 3)
    assert report.specificity == pytest.approx(1 / 2)
    assert report.accuracy == pytest.approx(2 / 5)
    assert report.auroc == pytest.approx(5 / 6)
    assert report.confusion["pre"] == {"benign": 0, "early": 1, "pre": 0, "pro": 0}
    assert report.per_class["early"].recall == 1.0
    assert report.per_class["early"].precision == pytest.approx(1 / 3)
    low, high = report.sensitivity_ci95
    assert low < 2 / 3 < high


def test_the_networks_own_flag_counts_and_not_one_half():
    report = screen_report([field("early", finding(0.9, 0.1, 0, 0, flagged=True))], seconds=1.0)
    assert report.sensitivity == 1.0


def test_with_one_side_only_there_is_no_rate_of_the_other_and_no_area():
    report = screen_report([field("benign", finding(0.9, 0.1, 0, 0))], seconds=1.0)
    assert (report.sensitivity, report.auroc) == (None, None)
    assert report.sensitivity_ci95 == (0.0, 1.0)
    assert report.specificity == 1.0


def test_cells_pass_for_healthy_when_named_normal_and_flagged_by_neither_screen():
    flagged, unflagged = finding(0.1, 0.9, 0, 0), finding(0.9, 0.1, 0, 0)
    report = screen_report(
        [
            field(
                "early",
                flagged,
                cell(flagged=True),
                cell(flagged=False),
                cell(flagged=False, identified=False),
                cell(flagged=False, cell_type=CellType.BLAST),
            ),
            field(
                "pro",
                unflagged,
                cell(flagged=False),
                cell(flagged=True),
                cell(flagged=False, kind=Kind.PLATELET),
            ),
            field("benign", unflagged, cell(flagged=True), cell(flagged=False), cell(flagged=False)),
        ],
        seconds=1.0,
    ).cells
    assert (report.n, report.benign_n) == (6, 3)
    assert report.flagged == pytest.approx(2 / 6)
    assert report.unflagged_normal_cell == pytest.approx(2 / 6)
    assert report.unflagged_normal == pytest.approx(1 / 6)
    assert report.benign_flagged == pytest.approx(1 / 3)


@given(
    st.lists(st.tuples(st.sampled_from([0.0, 0.2, 0.5, 0.9]), st.booleans()), min_size=2, max_size=30).filter(
        lambda pairs: len({label for _, label in pairs}) == 2
    )
)
def test_the_area_is_the_share_of_pairs_in_the_right_order(pairs):
    positives = [score for score, label in pairs if label]
    negatives = [score for score, label in pairs if not label]
    won = [(p > n) + 0.5 * (p == n) for p in positives for n in negatives]
    scores, labels = zip(*pairs, strict=True)
    assert auroc(scores, labels) == pytest.approx(np.mean(won))
    assert 1 - auroc(scores, labels) == pytest.approx(auroc([-score for score in scores], labels))


def test_the_areas_interval_is_the_same_every_time_and_holds_it():
    random = np.random.default_rng(0)
    labels = random.random(80) < 0.5
    scores = labels + random.normal(0, 1, 80)
    interval = auroc_interval(list(scores), list(labels))
    assert interval == auroc_interval(list(scores), list(labels))
    assert 0 < interval[0] < auroc(scores, labels) < interval[1] < 1


def test_folders_are_taken_leniently(tmp_path):
    for name in ("Benign", "EARLY", "pre", "Pro", ".hidden"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").touch()
    labels = [item.label for item in read_screen_folders(tmp_path, CLASSES)]
    assert labels == ["benign", "early", "pro", "pre"]


@pytest.mark.parametrize("name", ["rose", "precursor", "b"])
def test_a_folder_that_is_no_class_is_an_error_that_names_the_classes(tmp_path, name):
    (tmp_path / name).mkdir()
    (tmp_path / name / "1.png").touch()
    with pytest.raises(InvalidArgument, match="benign, early, pre, pro"):
        read_screen_folders(tmp_path, CLASSES)


def test_a_folder_without_images_is_an_error(tmp_path):
    (tmp_path / "benign").mkdir()
    with pytest.raises(InvalidArgument, match="no images"):
        read_screen_folders(tmp_path, CLASSES)


@pytest.fixture
def run(gateway):
    def evaluate(*arguments: str):
        arguments = ["evaluate", "screen", *arguments, "--address", gateway.address]
        return CliRunner().invoke(app, arguments, env={"COLUMNS": "160"})

    return evaluate


def scripted(image, *, found, cell_screen=(0.9, 0.1)):
    box = {"box": (1, 1, 9, 9), "probabilities": {"lymphocyte": 1.0}, "screen": list(cell_screen)}
    return image(screen=list(found), cells=[box])


def test_the_command_prints_tables_and_writes_the_figures(run, tmp_path, write, image):
    write("fields/Benign/1.png", scripted(image, found=(0.9, 0.1, 0, 0)))
    write("fields/pre/1.png", scripted(image, found=(0.1, 0.1, 0.8, 0), cell_screen=(0.2, 0.8)))
    write("fields/pro/1.png", scripted(image, found=(0.8, 0, 0, 0.2)))
    figures = tmp_path / "figures.json"
    result = run(str(tmp_path / "fields"), "--json", str(figures))
    assert result.exit_code == 0, result.output
    assert "sensitivity" in result.stdout
    assert "never a diagnosis" in result.stdout
    document = json.loads(figures.read_text())
    assert [document[key] for key in ("n", "sensitivity", "specificity", "auroc")] == [3, 0.5, 1.0, 1.0]
    assert document["accuracy"] == pytest.approx(2 / 3)
    assert document["per_class"]["pre"]["recall"] == 1.0
    assert document["cells"]["unflagged_normal"] == 0.5
    assert document["seconds"] > 0
    assert document["settings"] == {"model": None, "site_profile": None}


def test_a_stack_without_a_screen_is_told(run, gateway, tmp_path, write, image):
    gateway.screens = False
    write("fields/benign/1.png", scripted(image, found=(1, 0, 0, 0)))
    result = run(str(tmp_path / "fields"))
    assert result.exit_code == 4
    assert "screen_not_loaded" in result.stderr
    assert gateway.asked == 0


def test_a_wrong_folder_is_a_usage_error_that_names_the_classes(run, gateway, tmp_path, write, image):
    write("fields/rose/1.png", scripted(image, found=(1, 0, 0, 0)))
    result = run(str(tmp_path / "fields"))
    assert result.exit_code == 2
    assert "benign, early, pre, pro" in " ".join(result.output.replace("│", " ").split())
    assert gateway.asked == 0


def test_images_that_cannot_be_read_are_left_out_and_told(run, tmp_path, write, image):
    write("fields/benign/1.png", scripted(image, found=(1, 0, 0, 0)))
    write("fields/benign/2.png", image(reason="IMAGE_DAMAGED"))
    result = run(str(tmp_path / "fields"))
    assert result.exit_code == 1
    assert "1 image could not be evaluated" in result.stdout
