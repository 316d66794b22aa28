"""Model cards: they say what the figures say, and nothing that nobody measured."""

import re

import numpy as np
import pytest

from hemaserve.cells import LEAF_TYPES, PRIMARY_TYPES
from hemaserve.evaluation.metrics import reliability_bins
from training import cards, scores
from training.ensemble import ENSEMBLES, proper_subsets, subset_name
from training.results import (
    CalibrationFigures,
    ClassifierFigures,
    DetectorFigures,
    KindFigures,
    ScreenFigures,
    SourceFigures,
    TrainingRun,
)
from training.settings import settings

_DIGEST = "ab" * 32
_SECTIONS = ["Data", "Training", "Intended use", "Limits"]


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("HEMASERVE_RESULTS", str(tmp_path / "results"))
    settings.cache_clear()
    yield tmp_path
    settings.cache_clear()


def _scores(labels, wrong=10, count=200):
    truth = np.arange(count) % len(labels)
    answer = np.where(np.arange(count) < wrong, (truth + 1) % len(labels), truth)
    return scores.score(truth, answer, labels)


def _run(**recipe: str) -> TrainingRun:
    return TrainingRun(epochs=6, seconds=1830, crops=10191, threads=2, seed=7, recipe=recipe)


def _classifier(name="vit", **changes) -> ClassifierFigures:
    source = SourceFigures(
        primary=_scores(PRIMARY_TYPES, wrong=3, count=43),
        unidentified_share=0.14,
        identified_accuracy=0.97,
        identified_accuracy_ci95=(0.86, 1.0),
        ece=0.042,
    )
    measured = {
        "temperature": 1.234,
        "identify_threshold": 0.615,
        "ood_limit": 2.345,
        "crops": 200,
        "calibration_crops": 886,
        "ece": 0.0123,
        "unidentified_share": 0.031,
        "identified_accuracy": 0.996,
        "primary": _scores(PRIMARY_TYPES),
        "leaf": _scores(LEAF_TYPES, wrong=20),
        "reliability": reliability_bins([0.9, 0.95], [True, True]),
        "sources": {"bccd": source},
        "training": _run(name=name, epochs="9", joint_epochs="2", teacher="efficientnet"),
    }
    return ClassifierFigures(name=name, **(measured | changes))


def _ensemble() -> ClassifierFigures:
    subsets = {
        "xception": CalibrationFigures(temperature=0.81, ood_limit=2.5),
        "vit": CalibrationFigures(temperature=0.82, ood_limit=2.6),
        "xception+vit": CalibrationFigures(temperature=0.83, ood_limit=2.7, disagreement_limit=0.444),
    }
    return _classifier("ensemble", training=None, subsets=subsets, disagreement_limit=0.333)


def _literature(name="vgg19", **changes) -> ClassifierFigures:
    source = SourceFigures(
        primary=_scores(PRIMARY_TYPES, wrong=60, count=203),
        unidentified_share=0.4,
        identified_accuracy=0.8,
        identified_accuracy_ci95=(0.7, 0.9),
        ece=0.1,
    )
    recipe = {
        "name": name,
        "epochs": "12",
        "joint_epochs": "0",
        "normalisation": "standardise",
        "frozen": "False",
        "storage": "int8",
        "teacher": "efficientnet-base",
    }
    run = _run(**(recipe | changes)).model_copy(update={"parameters": 20_037_195})
    return _classifier(name, sources={"bccd": source}, training=run)


def _comparative() -> ClassifierFigures:
    members = ("vgg19", "xception", "unet")
    subsets = {subset_name(subset): CalibrationFigures(ood_limit=2.5) for subset in proper_subsets(members)}
    return _classifier("comparative_ensemble", training=None, subsets=subsets, disagreement_limit=0.333)


def _detector() -> DetectorFigures:
    kind = KindFigures(
        objects=289, average_precision_50=0.991, score_threshold=0.48, precision=0.99, recall=0.983
    )
    return DetectorFigures(
        name="yolov8n",
        fields=274,
        map50=0.978,
        map50_95=0.8,
        kinds={"wbc": kind},
        training=_run(tiles="True"),
    )


def _screen(name: str) -> ScreenFigures:
    labels = ("benign", "early", "pre", "pro") if name == "leukemia_field" else ("benign", "blast-like")
    return ScreenFigures(
        name=name,
        flag_threshold=0.123,
        calibration_images=210,
        scores=_scores(labels),
        sensitivity=0.995,
        sensitivity_ci95=(0.98, 0.999),
        specificity=0.987,
        specificity_ci95=(0.93, 1.0),
        auroc=0.9987,
        training=_run(),
    )


def _written(place, write, figures) -> str:
    folder = place / figures.name
    write(folder, figures, "A network", _DIGEST)
    return (folder / "README.md").read_text()


def _cards(place) -> list[str]:
    return [
        _written(place, cards.write_classifier, _classifier()),
        _written(place, cards.write_classifier, _ensemble()),
        _written(place, cards.write_classifier, _literature()),
        _written(place, cards.write_classifier, _comparative()),
        _written(place, cards.write_detector, _detector()),
        _written(place, cards.write_screen, _screen("leukemia_field")),
        _written(place, cards.write_screen, _screen("leukemia_cell")),
    ]


def test_every_card_has_all_sections_the_digest_and_the_missing_patients(place):
    for text in _cards(place):
        headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
        assert all(
            any(heading.startswith(section) for heading in headings) for section in [*_SECTIONS, "Figures"]
        )
        assert text.startswith("# A network\n")
        assert _DIGEST in text
        assert "No set carries patient identifiers" in text
        assert "Not a medical device" in text


def test_every_table_of_a_card_has_rows_of_one_width(place):
    for text in _cards(place):
        for block in re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE):
            assert len({line.count("|") for line in block.splitlines()}) == 1
        assert not re.search(r"\b(None|nan)\b(?! yet)", text)


def test_a_classifier_says_its_figures_with_intervals(place):
    figures = _classifier()
    text = _written(place, cards.write_classifier, figures)
    for scored in (figures.primary, figures.leaf):
        low, high = scored.macro_f1_ci95
        assert f"{100 * scored.macro_f1:.2f}% ({100 * low:.2f} to {100 * high:.2f})" in text
    for number in ("1.234", "0.615", "2.345", "1.23%", "99.60%", "3.10%", "886"):
        assert number in text
    assert "| immature granulocyte | 25 |" in text


def test_a_run_that_was_cut_short_says_so(place):
    assert "| Epochs | 6 of 11 |" in _written(place, cards.write_classifier, _classifier())
    whole = _classifier(training=_run(epochs="6"))
    assert "| Epochs | 6 |" in _written(place, cards.write_classifier, whole)


def test_a_network_that_did_not_begin_from_nothing_says_what_it_began_from(place):
    assert "ImageNet weights" in _written(place, cards.write_classifier, _classifier("efficientnet"))
    assert "ImageNet weights" in _written(place, cards.write_screen, _screen("leukemia_field"))
    assert "xception-base" in _written(place, cards.write_classifier, _classifier("xception"))


def test_another_laboratory_has_its_row_and_a_second_one_when_it_was_left_out(place):
    text = _written(place, cards.write_classifier, _classifier())
    assert "| as served | 43 |" in text
    assert "trained without any of BCCD" not in text
    left_out = place / "results" / "left-out" / "vit.json"
    left_out.parent.mkdir(parents=True)
    left_out.write_text(_classifier().model_dump_json())
    assert "| the same, trained without any of BCCD | 43 |" in _written(
        place, cards.write_classifier, _classifier()
    )


def test_an_ensemble_names_its_members_and_every_subset_with_its_calibration(place):
    text = _written(place, cards.write_classifier, _ensemble())
    assert "[xception](../xception/README.md), [vit](../vit/README.md)" in text
    for row in ("all members | 1.234 ", "xception | 0.810 ", "vit | 0.820 ", "xception+vit | 0.830 "):
        assert f"| {row}" in text
    assert "0.333" in text
    assert "0.444" in text


def test_a_detector_has_exact_limits_and_its_licence(place):
    text = _written(place, cards.write_detector, _detector())
    # 284 of 289 labelled ones found, and 284 of 287 found ones right, by scipy's beta quantiles.
    assert "98.30% (96.01 to 99.44)" in text
    assert "99.00% (96.98 to 99.78)" in text
    assert "AGPL-3.0" in text
    assert "Acevedo" in text


def test_a_detector_without_tiles_does_not_claim_them(place):
    figures = _detector()
    figures.training = _run(tiles="False")
    assert "Acevedo" not in _written(place, cards.write_detector, figures)


@pytest.mark.parametrize("name", ["leukemia_field", "leukemia_cell"])
def test_a_screen_is_a_flag_of_research_use_and_never_a_diagnosis(place, name):
    text = _written(place, cards.write_screen, _screen(name))
    for words in (
        "never a diagnosis",
        "research use",
        "scale bar",
        "0.123",
        "99.50% (98.00 to 99.90)",
        "0.9987",
    ):
        assert words in text
    assert ("Weak labels" in text) == (name == "leukemia_cell")


def test_an_interim_file_says_that_nothing_was_measured(place):
    text = _written(place, cards.write_classifier, ClassifierFigures(name="vit"))
    assert "Not trained yet" in text
    assert "interim weights" in text
    screen = _written(place, cards.write_screen, ScreenFigures(name="leukemia_cell"))
    assert "interim weights" in screen


@pytest.mark.parametrize("figures", [_ensemble, _comparative], ids=["ensemble", "comparative_ensemble"])
def test_a_vote_points_to_its_own_ensemble(place, figures):
    ensemble = figures()
    cards.write_vote(place / "vote", ensemble, _DIGEST)
    text = (place / "vote" / "README.md").read_text()
    assert text.startswith(f"# Vote of the `{ensemble.name}`\n")
    assert re.findall(r"\.\./(\w+)/README\.md", text) == [ensemble.name]
    assert "{" not in text
    assert "1.234" in text
    assert _DIGEST in text


@pytest.mark.parametrize("figures", [_ensemble, _comparative], ids=["ensemble", "comparative_ensemble"])
def test_the_digest_on_an_ensembles_card_is_that_of_its_own_vote(place, figures):
    text = _written(place, cards.write_classifier, figures())
    vote = ENSEMBLES[figures().name].vote
    assert f"| SHA-256 of `model.onnx` of the `{vote}` | `{_DIGEST}` |" in text


def test_networks_that_learned_from_bccd_say_so_and_strangers_never_do(place):
    text = _written(place, cards.write_classifier, _classifier())
    assert "the last epochs of training, and validation" in text
    assert "measured on 200 of PBC's validation side and 43 of BCCD's." in text
    assert "never s" not in text
    assert "Few laboratories" in text
    stranger = _written(place, cards.write_classifier, _literature())
    assert "never seen in training; validation, on the typed cells of both of its sides" in stranger
    assert "measured on 200 of PBC's validation side and 203 of both of BCCD's." in stranger
    assert "| as served, which never saw any of BCCD | 203 |" in stranger
    assert "last epochs of training" not in stranger
    assert "Few laboratories" not in stranger
    assert "One laboratory" in stranger


def test_two_phases_are_no_sign_that_bccd_was_seen(place):
    preset = _literature("hussien2025_vgg19_80", joint_epochs="8")
    text = _written(place, cards.write_classifier, preset)
    assert "never seen in training" in text
    assert "| Recipe after | Hussien & Kareem 2025 |" in text


def test_of_a_mixed_ensemble_the_member_that_saw_bccd_is_named(place):
    text = _written(place, cards.write_classifier, _comparative())
    assert "the last epochs of training of xception, and validation" in text
    assert "never saw any" not in text
    whole = _written(place, cards.write_classifier, _ensemble())
    assert "the last epochs of training, and validation" in whole


def test_a_network_says_where_its_weights_and_its_architecture_come_from(place):
    text = _written(place, cards.write_classifier, _literature())
    assert "| Starts from | nothing; distilled from `efficientnet-base` |" in text
    assert "Simonyan & Zisserman 2015" in text
    assert "| Parameters | 20,037,195 |" in text
    assert "| Large weights stored as | INT8 with a scale for every output channel" in text
    assert "| Large weights stored as | FP16 |" in _written(place, cards.write_classifier, _classifier())
    untold = _written(place, cards.write_classifier, _classifier())
    assert "| Parameters |" not in untold


def test_a_frozen_network_says_what_stayed(place):
    figures = _literature(
        "albadareen2024_resnet50", start="resnet50", frozen="True", architecture="resnet50", teacher=""
    )
    text = _written(place, cards.write_classifier, figures)
    assert "| Starts from | `resnet50`, whose body stays as it is: only a new head learns |" in text
    assert "He et al. 2016" in text


def test_a_detector_does_not_claim_to_start_from_nothing(place):
    assert "Starts from" not in _written(place, cards.write_detector, _detector())


@pytest.mark.parametrize(
    ("name", "words"),
    [("vgg19", "plus a constant"), ("vit", "roll-out"), ("hybrid_dense", "gradient times feature")],
)
def test_a_network_says_what_its_evidence_is(place, name, words):
    text = _written(place, cards.write_classifier, _literature(name))
    assert "`evidence`, float32 [N, 11, h, w]" in text
    assert words in text


def test_an_ensemble_has_no_evidence_of_its_own(place):
    assert "evidence" not in _written(place, cards.write_classifier, _ensemble())


@pytest.mark.parametrize(("split", "words"), [("original", "by original"), ("random", "both sides show")])
def test_a_network_of_mooneys_set_says_how_it_was_split_and_nothing_of_other_sets(place, split, words):
    figures = _literature(f"mooney_hybrid_dense_{split}", architecture="hybrid_dense", teacher="")
    figures.sources = {}
    text = _written(place, cards.write_classifier, figures)
    assert words in text
    assert "PBC" not in text.split("## Intended use")[0]
    assert "## Figures on Mooney's validation side" in text
