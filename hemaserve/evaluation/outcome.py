"""What an evaluation hands back, whichever it was: the figures, and what they were got from."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from hemaserve.client.errors import HemaServeError
from hemaserve.evaluation.asking import Answers, FailedImage
from hemaserve.results import Provenance, as_json

Report = TypeVar("Report")


@dataclass(frozen=True, slots=True)
class Evaluation(Generic[Report]):
    """The figures of one evaluation.

    Attributes:
        report: None when no image was answered.
        failed: images that could not be evaluated, by name.
        partial: images were left out, because somebody stopped it or because of `error`.
        error: what ended it early.
        provenance: of the first answer: networks, digests, thresholds; None when there was none.
        settings: what it was asked to do, as plain JSON values.
    """

    report: Report | None
    failed: Sequence[FailedImage]
    partial: bool
    error: HemaServeError | None
    provenance: Provenance | None
    settings: dict[str, Any]

    def as_json(self, root: Path) -> dict[str, Any]:
        """Plain JSON values: the report's figures first, then the circumstances. Files are named as below `root`."""
        figures = as_json(self.report) if self.report is not None else {"n": 0}
        assert isinstance(figures, dict)  # noqa: S101 - a dataclass becomes a dict; this tells mypy
        failed = [{"image": below(item.path, root), "reason": item.reason} for item in self.failed]
        return {
            **figures,
            "failed": failed,
            "partial": self.partial,
            "error": None if self.error is None else str(self.error),
            "settings": self.settings,
            "provenance": as_json(self.provenance),
        }


def evaluation_of(
    answers: Answers[Any, Any], report: Report | None, provenance: Provenance | None, settings: dict[str, Any]
) -> Evaluation[Report]:
    """An evaluation from its answers and the report made of them."""
    failed = sorted(answers.failed, key=lambda item: item.path)
    return Evaluation(report, failed, answers.partial, answers.error, provenance, settings)


def below(path: Path, root: Path) -> str:
    """A file's name as it lies below `root`."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name
