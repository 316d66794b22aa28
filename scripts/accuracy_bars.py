"""The bars that the networks are held to, and where each of them stands."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from accuracy_measurements import MOONEY, Document, Results
from accuracy_words import NOT_MEASURED, number, percent, table

from hemaserve.evaluation.extra import exact_interval

LITERATURE = (
    *("vgg19", "unet", "resnet50", "inceptionv3", "squeezenet"),
    *("efficientnet_b0", "efficientnet_b2", "efficientnet_b3", "hybrid_dense", "hybrid_graph"),
)
"""Networks that publications name, trained by our factory."""

ABSTAINED = 0.02
"""Share of the cells set aside for the bar on abstention."""


@dataclass(frozen=True)
class Figure:
    """A measured value, with its 95% interval where there is one, and how many images, fields or cells it is of."""

    value: float
    interval: Sequence[float] | None
    n: int


@dataclass(frozen=True)
class Bar:
    """What a figure must reach.

    Attributes:
        task: what is asked of the networks.
        published: what others report.
        what: which figure.
        limit: the bar; None where reporting the figure is all that is asked.
        figure: None when it was not measured.
        at_least: whether the figure must be no less than the limit, or no more.
        share: whether the figure is a share, written in percent.
    """

    task: str
    published: str
    what: str
    limit: float | None
    figure: Figure | None
    at_least: bool = True
    share: bool = True

    @property
    def beyond(self) -> float | None:
        """By how much it is better than the bar; negative when it is missed; None when that cannot be told."""
        if self.figure is None or self.limit is None:
            return None
        # Figures that agree to six decimals are equal: 0.99 of 100 images is not always 0.99 in binary.
        ahead = round(self.figure.value - self.limit, 6)
        return ahead if self.at_least else -ahead


def bars_table(results: Results, left_out: Results, presets: Results) -> str:
    """One row for each bar."""
    rows = [
        [
            bar.task,
            bar.published,
            bar.what,
            NOT_MEASURED if bar.figure is None else _value(bar, bar.figure),
            "" if bar.figure is None else str(bar.figure.n),
            _limit(bar),
            _standing(bar),
        ]
        for bar in bars(results, left_out, presets)
    ]
    return table(["Task", "Published", "Figure", "Measured (95% limits)", "n", "Bar", "Met?"], rows)


def _value(bar: Bar, figure: Figure) -> str:
    # One decimal more than elsewhere: bars are tenths of a percent apart.
    if not bar.share:
        return number(figure.value, figure.interval)
    if figure.interval is None:
        return f"{100 * figure.value:.2f}%"
    return f"{100 * figure.value:.2f}% ({100 * figure.interval[0]:.2f} to {100 * figure.interval[1]:.2f})"


def _limit(bar: Bar) -> str:
    if bar.limit is None:
        return "reported"
    return f"{'≥' if bar.at_least else '≤'} {percent(bar.limit) if bar.share else f'{bar.limit:g}'}"


def _standing(bar: Bar) -> str:
    beyond = bar.beyond
    if beyond is None:
        return ""
    by = f"{100 * abs(beyond):.2f} points" if bar.share else f"{abs(beyond):.3f}"
    return f"met, by {by}" if beyond >= 0 else f"**missed** by {by}"


def bars(results: Results, left_out: Results, presets: Results) -> Iterator[Bar]:
    """All bars, in the order in which they are shown.

    Args:
        results: of the networks that serve by default.
        left_out: of those trained without bccd.
        presets: of those trained by the recipes of papers.
    """
    yield from _pbc(results)
    yield from _literature(results, presets)
    yield from _mooney(presets)
    yield from _leukemia(results)
    yield from _fields(results)
    yield from _left_out(left_out)
    yield from _calibration(results, left_out)


def _pbc(results: Results) -> Iterator[Bar]:
    default = results.default_classifier
    task, published = "PBC, 5 types", "SqueezeNet 99.2% (10,298 images)"
    five = _of(results.get(f"cells-five-types-{default}"), "accuracy")
    yield Bar(task, published, f"accuracy, {default} (default)", 0.996, five)
    lower = None if five is None or five.interval is None else Figure(five.interval[0], None, five.n)
    yield Bar(task, published, "its lower 95% limit", 0.992, lower)
    task, published = "PBC, 8 types", "about 98 to 99%"
    yield Bar(task, published, f"accuracy, {default} (default)", 0.99, _accuracy(results, default))
    for name, limit in (("vit", 0.983), ("xception", 0.986)):
        yield Bar(task, published, f"accuracy, {name}", limit, _accuracy(results, name))
    task = "PBC leaves"
    leaves = (results.get(f"cells-{default}") or {}).get("leaves")
    yield Bar(task, "rarely", f"macro F1, {default}", None, _of(leaves, "macro_f1"))
    yield Bar(
        task,
        "rarely",
        f"band from segmented, {default}",
        0.85,
        _of(leaves, "band_segmented_accuracy", "band_segmented"),
    )


def _literature(results: Results, presets: Results) -> Iterator[Bar]:
    for name in LITERATURE:
        yield Bar("PBC, 8 types", "", f"accuracy, {name}", 0.97, _accuracy(results, name))
    for name, title, share in (
        ("squeezenet", "SqueezeNet", 0.992),
        ("inceptionv3", "InceptionV3", 0.98),
        ("resnet50", "ResNet50", 0.94),
    ):
        task, published = "PBC, 5 types", f"{title} {percent(share)} (AL-Badareen et al. 2024)"
        figure = _of(results.get(f"cells-five-types-{name}"), "accuracy")
        yield Bar(task, published, f"accuracy, {name}", share, figure)
        preset = f"albadareen2024_{name}"
        figure = _of(presets.get(f"cells-five-types-{preset}"), "accuracy")
        yield Bar(task, published, f"accuracy, {preset} (the paper's recipe)", None, figure)


def _mooney(presets: Results) -> Iterator[Bar]:
    published = "96.87% stated, 89.0% by its own confusion matrix (Altarawneh 2023)"
    for split, how in (
        ("original", "split by original image"),
        ("random", "split at random, with augmentations of one original on both sides"),
    ):
        for network in ("hybrid_dense", "hybrid_graph", "altarawneh2023"):
            name = f"{MOONEY}{network}_{split}"
            yield Bar(
                f"mooney, 4 types, {how}", published, f"accuracy, {name}", None, _accuracy(presets, name)
            )


def _leukemia(results: Results) -> Iterator[Bar]:
    document = results.get("screen")
    task, published = "Leukemia fields", "94 to 97% (two classes, other data)"
    yield Bar(task, published, "accuracy, 4 classes", 0.98, _of(document, "accuracy"))
    sensitivity, specificity = (
        _of(document, "sensitivity", "malignant"),
        _of(document, "specificity", "benign"),
    )
    yield Bar(task, published, "sensitivity, malignant from benign", 0.99, sensitivity)
    yield Bar(task, published, "specificity, malignant from benign", 0.98, specificity)
    task = "Malignant cells given a normal type with confidence"
    cells = (document or {}).get("cells")
    for key, what in (
        ("unflagged_normal", "neither cell nor field flagged"),
        ("unflagged_normal_cell", "cell not flagged, whatever its field"),
    ):
        yield Bar(task, "unreported", what, 0.02, _of(cells, key), at_least=False)


def _fields(results: Results) -> Iterator[Bar]:
    detector, classifier = results.default_detector, results.default_classifier
    document = results.get(f"detections-{detector}")
    task, published = "smear_fields, detection", "mAP50 0.97 to 0.98"
    yield Bar(task, published, f"mAP50, {detector}", 0.975, _of(document, "map50"), share=False)
    ap50 = None if document is None else {"wbc": document["ap50"].get("wbc"), "n": document["boxes"]["wbc"]}
    yield Bar(task, published, f"AP50 of white cells, {detector}", 0.99, _of(ap50, "wbc"), share=False)
    document = results.get(f"fields-{classifier}")
    task = "bccd fields, end to end, default networks"
    yield Bar(task, "none", "recall of white cells", 0.98, _of(document, "wbc_recall", "wbc_labelled"))
    yield Bar(task, "none", "precision of white cells", 0.98, _of(document, "wbc_precision", "wbc_found"))
    yield Bar(task, "none", f"type accuracy, {classifier}", 0.93, _of(document, "type_accuracy", "typed"))


def _left_out(left_out: Results) -> Iterator[Bar]:
    name = left_out.default_classifier
    for suffix, how in (("", ""), ("-profile", ", with a site profile"), ("-train", ", its training side")):
        document = left_out.get(f"fields-{name}{suffix}")
        task = f"bccd cells, networks trained without them{how}"
        yield Bar(
            task,
            "none",
            f"accuracy of the identified, {name or 'default network'}",
            0.95,
            _identified(document),
        )
        unidentified = None
        if document is not None and document["typed"]:
            count, n = document["unidentified"], document["typed"]
            unidentified = Figure(count / n, exact_interval(count, n), n)
        yield Bar(task, "none", "unidentified", 0.15, unidentified, at_least=False)


def _calibration(results: Results, left_out: Results) -> Iterator[Bar]:
    task = "Calibration"
    document = results.get(f"cells-{results.default_classifier}")
    stranger = left_out.get(f"fields-{left_out.default_classifier}")
    for source, figures in (("PBC", document), ("bccd left out", stranger)):
        calibration = (figures or {}).get("calibration")
        for key, what in (("nll_ratio", "negative log-likelihood"), ("brier_ratio", "Brier score")):
            yield Bar(
                task,
                "none",
                f"{what} against the baseline's, {source}",
                0.6,
                _of(calibration, key),
                at_least=False,
                share=False,
            )
    calibration = (stranger or {}).get("calibration")
    yield Bar(task, "none", "ECE, bccd left out", 0.05, _of(calibration, "ece"), at_least=False, share=False)
    curve = (document or {}).get("abstention") or []
    point = next((point for point in curve if point["share"] == ABSTAINED), None)
    what = f"PBC accuracy on the rest, {100 * ABSTAINED:g}% set aside"
    yield Bar(task, "none", what, 0.995, _of(point, "accuracy"))


def _accuracy(results: Results, network: str | None) -> Figure | None:
    return _of(results.get(f"cells-{network}"), "accuracy")


def _identified(document: Document | None) -> Figure | None:
    if document is None:
        return None
    identified = {**document, "identified": document["typed"] - document["unidentified"]}
    return _of(identified, "accuracy_identified", "identified")


def _of(document: Document | None, key: str, n: str = "n") -> Figure | None:
    """A figure with its interval, if the document has it."""
    if document is None or document.get(key) is None:
        return None
    return Figure(document[key], document.get(f"{key}_ci95"), document.get(n, 0))
