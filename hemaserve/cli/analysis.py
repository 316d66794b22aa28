"""Analysing image files as one smear: what `analyze` and `demo` share."""

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from hemaserve.cells import Kind
from hemaserve.cli.console import err
from hemaserve.client import Acquisition, Client, Field
from hemaserve.imaging import decode
from hemaserve.picture import NOTICE, annotate
from hemaserve.results import CropEncoding, Failure, FieldResult, SmearResult, as_json

JSON_SCHEMA: Final = "hemaserve.analysis.v1"


@dataclass(frozen=True, slots=True)
class FailedFile:
    """A file that could not be analysed, and why."""

    file: Path
    failure: Failure


@dataclass(frozen=True, slots=True)
class Analysis:
    """What became of some files.

    Attributes:
        result: of the smear that they are.
        files: by field id.
        unreadable: files that could not even be sent.
        explanations: the pictures of fields whose cells were explained, by field id.
    """

    result: SmearResult
    files: Mapping[str, Path]
    unreadable: tuple[FailedFile, ...]
    explanations: Mapping[str, Path] = field(default_factory=dict)

    @property
    def analysed(self) -> list[tuple[Path, FieldResult]]:
        """The fields that were analysed, with their files, in the order given."""
        return [(self.files[f.field_id], f) for f in self.result.fields if f.error is None]

    @property
    def failed(self) -> list[FailedFile]:
        """All files that could not be analysed."""
        refused = [
            FailedFile(self.files[f.field_id], f.error) for f in self.result.fields if f.error is not None
        ]
        return [*self.unreadable, *refused]

    def to_json(self) -> dict[str, object]:
        """Everything, as plain JSON values."""
        fields = [self._field_to_json(field) for field in self.result.fields]
        failed = [{"file": str(item.file), **_object(as_json(item.failure))} for item in self.failed]
        smear = _object(as_json(self.result))
        return {"schema": JSON_SCHEMA, "notice": NOTICE, **smear, "fields": fields, "failed": failed}

    def _field_to_json(self, field: FieldResult) -> dict[str, object]:
        # Maps are pixels, like crops: their picture is named instead.
        picture = self.explanations.get(field.field_id)
        explained = {} if picture is None else {"explanations": str(picture)}
        return {"file": str(self.files[field.field_id]), **_object(as_json(field)), **explained}


async def analyze_files(
    client: Client,
    files: Sequence[Path],
    *,
    smear_id: str | None = None,
    specimen: str = "",
    target: int = 0,
    model: str | None = None,
    detector_model: str | None = None,
    kinds: Sequence[Kind] = (),
    site_profile: str | None = None,
    screen: bool = False,
    crops: CropEncoding = CropEncoding.NONE,
) -> Analysis:
    """Analyse files as the fields of one smear, with a progress bar on standard error.

    Raises:
        HemaServeError: the smear could not be analysed.
    """
    # Numbers, not file names: those may hold an accession number, and a field's id may be logged.
    by_id = {str(number): file for number, file in enumerate(files, start=1)}
    acquisition = Acquisition(site_profile=site_profile) if site_profile else None
    unreadable: list[FailedFile] = []

    async def fields() -> AsyncIterator[Field]:
        for field_id, file in by_id.items():
            try:
                image = file.read_bytes()
            except OSError as error:
                failure = Failure("NOT_FOUND", "FILE_UNREADABLE", error.strerror or "cannot be read")
                unreadable.append(FailedFile(file, failure))
                advance()
            else:
                yield Field(image, field_id, acquisition)

    with progress_bar() as progress:
        task = progress.add_task("Analysing", total=len(files))

        def advance(_: FieldResult | None = None) -> None:
            progress.advance(task)

        result = await client.analyze_smear(
            fields(),
            smear_id=smear_id,
            specimen=specimen,
            target=target,
            model=model,
            detector_model=detector_model,
            kinds=kinds,
            screen=screen,
            crops=crops,
            on_result=advance,
        )
    return Analysis(result, by_id, tuple(unreadable))


def write_pictures(
    analysis: Analysis, folder: Path, *, title: Callable[[Path], str] = lambda file: file.name
) -> list[Path]:
    """Write an annotated PNG of each field that was analysed; returns their paths in the fields' order.

    Raises:
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    with progress_bar() as progress:
        for file, result in progress.track(analysis.analysed, description="Drawing"):
            path = free_name(folder, file, written, "annotated")
            annotate(decode(file.read_bytes()), result, title=title(file)).save(path)
            written.append(path)
    return written


def free_name(folder: Path, file: Path, taken: Collection[Path], what: str) -> Path:
    """`<stem>.<what>.png`, numbered where fields of several folders have one name."""
    path, number = folder / f"{file.stem}.{what}.png", 2
    while path in taken:
        path, number = folder / f"{file.stem}-{number}.{what}.png", number + 1
    return path


def progress_bar() -> Progress:
    """A progress bar on standard error that goes when it is done."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=err,
        transient=True,
    )


def _object(value: object) -> dict[str, object]:
    assert isinstance(value, dict)  # noqa: S101 - as_json of a dataclass
    return value
