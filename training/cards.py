"""The model cards, ``model_repository/NAME/README.md``, written from the figures so that they cannot drift."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from training import card_parts as parts
from training import card_texts as texts
from training.card_parts import percent, percent_with_interval, table
from training.ensemble import ENSEMBLES
from training.results import (
    CalibrationFigures,
    ClassifierFigures,
    DetectorFigures,
    ScreenFigures,
)

_UNMEASURED = "None yet: these are interim weights."


def write_classifier(folder: Path, figures: ClassifierFigures, title: str, digest: str) -> None:
    """The card of one network, or of the ensemble."""
    members = [name for name in figures.subsets if "+" not in name]
    file = f"`model.onnx` of the `{ENSEMBLES[figures.name].vote}`" if members else "`model.onnx`"
    saw_bccd = [name for name in members or [figures.name] if name in texts.SAW_BCCD]
    evidence = texts.evidence(parts.architecture_of(figures.training, figures.name))
    _write(
        folder,
        [
            f"# {title}",
            texts.WRITTEN,
            texts.CLASSIFIER,
            *([] if members else [evidence]),
            *_identity("Apache-2.0", digest, file),
            *_classifier_data(figures, saw_bccd, members),
            *_classifier_training(figures, members),
            *_classifier_figures(figures, saw_bccd),
            *_abstention(figures),
            *parts.limits(texts.classifier_limits(2 if saw_bccd else 1)),
        ],
    )


def write_vote(folder: Path, figures: ClassifierFigures, digest: str) -> None:
    """The card of an ensemble's last step; the figures are the ensemble's."""
    _write(
        folder,
        [
            f"# Vote of the `{figures.name}`",
            texts.WRITTEN,
            texts.VOTE.format(ensemble=figures.name),
            *_identity("Apache-2.0", digest),
            "## Calibration",
            f"Temperature {figures.temperature:.3f}, fitted on {figures.calibration_crops} crops kept out of training.",
            *parts.limits("As the ensemble's."),
        ],
    )


def write_detector(folder: Path, figures: DetectorFigures, title: str, digest: str) -> None:
    """The card of a detector."""
    _write(
        folder,
        [
            f"# {title}",
            texts.WRITTEN,
            texts.DETECTOR,
            *_identity(texts.DETECTOR_LICENCE, digest),
            *parts.data(
                [(texts.TXL_PBC, "training and validation"), *_tile_rows(figures)],
                f"Measured on {figures.fields} validation fields. {texts.NO_PATIENTS}",
            ),
            *parts.training(figures.training, figures.name, "fields"),
            f"## Figures on the validation side (n = {figures.fields} fields)",
            f"mAP50 {figures.map50:.3f}, mAP50-95 {figures.map50_95:.3f}; suppression at IoU {figures.nms_iou:.2f}.",
            texts.DETECTOR_FIGURES,
            parts.kinds(figures),
            *parts.limits(texts.DETECTOR_LIMITS),
        ],
    )


def write_screen(folder: Path, figures: ScreenFigures, title: str, digest: str) -> None:
    """The card of a screening network."""
    others = (
        []
        if figures.name == "leukemia_field"
        else [(texts.PBC, "further negatives in training, recoloured like all others")]
    )
    _write(
        folder,
        [
            f"# {title}",
            texts.WRITTEN,
            texts.SCREENS[figures.name],
            _flag(figures),
            *_identity(texts.SCREEN_LICENCE, digest),
            *parts.data(
                [(texts.LEUKEMIA, "training, calibration and validation"), *others],
                f"Calibrated on {figures.calibration_images} images kept out of training, measured on "
                f"{figures.scores.crops if figures.scores else 0} of the validation side. {texts.NO_PATIENTS}",
            ),
            *parts.training(figures.training, figures.name, "images"),
            *_screen_figures(figures),
            *parts.limits(texts.SCREEN_LIMITS[figures.name]),
        ],
    )


def _write(folder: Path, paragraphs: Iterable[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "README.md").write_text("\n\n".join(paragraphs) + "\n")


def _identity(licence: str, digest: str, file: str = "`model.onnx`") -> list[str]:
    return [table(("", ""), [("Licence", licence), (f"SHA-256 of {file}", f"`{digest}`")])]


def _classifier_data(figures: ClassifierFigures, saw_bccd: list[str], members: list[str]) -> list[str]:
    calibrated = f"Calibrated on {figures.calibration_crops} crops kept out of training"
    whole = "training, calibration and validation"
    if parts.home(figures.name) == "Mooney":
        how = "by original: all that was made of a field is on one side"
        if figures.name.endswith("_random"):
            how = "at random, as if the fields were unrelated: both sides show augmentations of the same originals"
        measured = f"{calibrated}, measured on {figures.crops}. The set was split {how}."
        return parts.data([(texts.MOONEY, whole)], f"{measured} {texts.NO_PATIENTS}")
    use = "never seen in training; validation, on the typed cells of both of its sides"
    if saw_bccd:
        of = f" of {' and '.join(saw_bccd)}" if len(saw_bccd) < len(members) else ""
        use = f"the last epochs of training{of}, and validation"
    bccd = figures.sources.get("bccd")
    measured = f" and {bccd.primary.crops} of {'' if saw_bccd else 'both of '}BCCD's" if bccd else ""
    return parts.data(
        [(texts.PBC, whole), (texts.BCCD, use)],
        f"{calibrated}, measured on {figures.crops} of PBC's validation side{measured}. PBC's crops are cut around the "
        "detector's boxes by `hemaserve.imaging.cut_crop`, or are the middle of the tile where it found none; BCCD's "
        "around labelled boxes, and only where the field's types leave no doubt which cell is meant. "
        f"{texts.NO_PATIENTS}",
    )


def _tile_rows(figures: DetectorFigures) -> list[tuple[texts.ImageSet, str]]:
    tiles = figures.training is not None and figures.training.recipe.get("tiles") == "True"
    use = "training: erythroblasts, immature granulocytes and platelets, bystanders labelled by an earlier detector"
    return [(texts.PBC, use)] if tiles else []


def _classifier_training(figures: ClassifierFigures, members: Sequence[str]) -> list[str]:
    if not members:
        return parts.training(figures.training, figures.name, "crops")
    cards = ", ".join(f"[{member}](../{member}/README.md)" for member in members)
    return ["## Training", f"The ensemble has no weights of its own; its members' cards: {cards}."]


def _classifier_figures(figures: ClassifierFigures, saw_bccd: list[str]) -> list[str]:
    if figures.primary is None or figures.leaf is None:
        return ["## Figures", _UNMEASURED]
    return [
        f"## Figures on {parts.home(figures.name)}'s validation side (n = {figures.crops})",
        "Best guesses for every crop, without abstention. Intervals are 95%, by 1,000 bootstrap folds.",
        table(
            ("", "n", "Accuracy", "Macro F1"),
            [
                (
                    what,
                    str(scores.crops),
                    percent_with_interval(scores.accuracy, scores.accuracy_ci95),
                    percent_with_interval(scores.macro_f1, scores.macro_f1_ci95),
                )
                for what, scores in (
                    ("8 primary types", figures.primary),
                    ("11 leaf types, where the label is a leaf", figures.leaf),
                )
            ],
        ),
        parts.scores(figures.primary),
        parts.scores(figures.leaf),
        parts.picture(figures.name, "confusion", "Confusion matrix of the primary types"),
        parts.picture(figures.name, "confusion-leaf", "Confusion matrix of the leaf types"),
        *parts.other_laboratory(figures, stranger=not saw_bccd),
    ]


def _abstention(figures: ClassifierFigures) -> list[str]:
    home = parts.home(figures.name)
    calibrated = {"all members" if figures.subsets else figures.name: figures, **figures.subsets}
    return [
        "## Calibration and abstention",
        texts.IDENTIFIED,
        table(
            ("", ""),
            [
                (
                    f"Expected calibration error on {home}, before the temperature",
                    percent(figures.ece_uncalibrated),
                ),
                (f"Expected calibration error on {home}", percent(figures.ece)),
                (
                    "A leaf is reported from this share of its parent's probability on",
                    f"{figures.leaf_threshold:.2f}",
                ),
                (
                    "Identified neutrophils and immature granulocytes with a leaf",
                    percent(figures.reported_leaf_share),
                ),
                ("Accuracy of these leaves", percent(figures.reported_leaf_accuracy)),
            ],
        ),
        table(
            (
                "",
                "Temperature",
                "Identified from",
                "Score up to",
                "Disagreement up to",
                "Unidentified",
                "Accuracy of the identified",
            ),
            [_calibration_row(name, each) for name, each in calibrated.items()],
        ),
        parts.picture(figures.name, "reliability", "Reliability diagram"),
    ]


def _calibration_row(name: str, figures: CalibrationFigures) -> tuple[str, ...]:
    return (
        name,
        f"{figures.temperature:.3f}",
        f"{figures.identify_threshold:.3f}",
        parts.limit(figures.ood_limit),
        parts.limit(figures.disagreement_limit),
        percent(figures.unidentified_share),
        percent(figures.identified_accuracy),
    )


def _flag(figures: ScreenFigures) -> str:
    classes = ", ".join(figures.scores.labels) if figures.scores else "not measured yet"
    return (
        f"Classes: {classes}. Anything but benign from {figures.flag_threshold:.3f} on is a flag for review, never a "
        "diagnosis, and is never suppressed by what another network says."
    )


def _screen_figures(figures: ScreenFigures) -> list[str]:
    if figures.scores is None:
        return ["## Figures", _UNMEASURED]
    scores = figures.scores
    rows = [
        ("Sensitivity of the flag", percent_with_interval(figures.sensitivity, figures.sensitivity_ci95)),
        ("Specificity of the flag", percent_with_interval(figures.specificity, figures.specificity_ci95)),
        ("Area under the ROC curve", f"{figures.auroc:.4f}"),
        (
            f"Accuracy, {len(scores.labels)} classes",
            percent_with_interval(scores.accuracy, scores.accuracy_ci95),
        ),
        ("Macro F1", percent_with_interval(scores.macro_f1, scores.macro_f1_ci95)),
        ("Expected calibration error", percent(figures.ece)),
        ("Temperature", f"{figures.temperature:.3f}"),
    ]
    return [
        "## Figures on the validation side",
        "Intervals are 95%: exact for sensitivity and specificity, by 1,000 bootstrap folds for the others.",
        table((f"n = {scores.crops}", ""), rows),
        parts.scores(scores),
        parts.picture(figures.name, "confusion", "Confusion matrix"),
        parts.picture(figures.name, "reliability", "Reliability diagram"),
    ]
