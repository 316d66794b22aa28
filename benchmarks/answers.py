"""What every answer must be: the fields and cells that load is made of, what an undisturbed stack says of them, and
whether what a disturbed one says is the same."""

import asyncio
import hashlib
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import grpc
import numpy as np

from hemaserve import synthetic
from hemaserve.cells import CellType, Kind
from hemaserve.client import Client
from hemaserve.client.requests import Field
from hemaserve.geometry import Box
from hemaserve.imaging import cut_crop
from hemaserve.results import Classification, FieldResult, Provenance, SmearResult

TOLERANCE: Final = 0.02
"""Probabilities may differ by that: networks that compute in bfloat16 round differently in batches of other sizes."""


@dataclass(frozen=True)
class Sample:
    """A field that load is made of.

    Attributes:
        name: unique in its pool.
        image: the file.
        sha256: its digest.
        cells: cut-outs of its white cells, as files.
    """

    name: str
    image: bytes
    sha256: str
    cells: tuple[bytes, ...]


def sample(seed: int) -> Sample:
    """A generated field with a few white cells."""
    drawn = synthetic.generate_field(seed, white_cells=1 + seed % 5, width=512, height=384)
    image = synthetic.encode_jpeg(drawn.image)
    cells = tuple(
        synthetic.encode_png(cut_crop(drawn.image, cell.box, size=112, margin=0.15))
        for cell in drawn.cells
        if cell.kind is Kind.WBC
    )
    return Sample(f"seed-{seed}", image, hashlib.sha256(image).hexdigest(), cells)


@dataclass
class Expected:
    """What an undisturbed stack says of each field and of each of its cut-outs, by the field's name."""

    fields: dict[str, FieldResult] = field(default_factory=dict)
    cells: dict[str, tuple[Classification, ...]] = field(default_factory=dict)


async def undisturbed(client: Client, samples: Sequence[Sample]) -> tuple[list[Sample], Expected]:
    """The samples that get the same answer each time, and that answer. Whoever sits on a threshold is left out.

    Raises:
        HemaServeError: the stack does not answer.
    """
    expected = Expected()
    for each in samples:
        expected.fields[each.name] = await client.analyze_field(each.image, field_id=each.name)
        named = await client.classify_cells(each.cells)
        expected.cells[each.name] = tuple(cell.classification for cell in named if cell.classification)
    again = await client.analyze_smear(Field(each.image, each.name) for each in samples)
    found = {result.field_id: result for result in again.fields}
    steady = []
    for each in samples:
        first = expected.fields[each.name]
        said = [*(cell.classification for cell in first.cells), *expected.cells[each.name]]
        if (
            said
            and len(expected.cells[each.name]) == len(each.cells)
            and all(one is not None and is_clear(one, first.provenance) for one in said)
            and not field_problems(first, found[each.name], each.sha256)
        ):
            steady.append(each)
    return steady, expected


async def learn(
    address: str, count: int, credentials: grpc.ChannelCredentials | None = None
) -> tuple[list[Sample], Expected]:
    """Samples, and what the stack says of them while nobody disturbs it."""
    drawn = await asyncio.to_thread(lambda: [sample(seed) for seed in range(count)])
    async with Client(address, timeout_s=120.0, credentials=credentials) as client:
        samples, expected = await undisturbed(client, drawn)
    if len(samples) < count / 4:
        sys.exit(f"only {len(samples)} of {count} generated fields get the same answer twice")
    print(
        f"{len(samples)} of {count} generated fields get a clear answer, and the same one each time",
        flush=True,
    )
    return samples, expected


def field_problems(expected: FieldResult, found: FieldResult, sha256: str) -> list[str]:
    """In what a field's result differs from the undisturbed one; empty when it is the same."""
    if found.error is not None:
        return [f"failed with {found.error.code} {found.error.reason}"]
    problems = []
    if found.image_sha256 != sha256:
        problems.append("is about another image")
    if [cell.cell_id for cell in found.cells] != [cell.cell_id for cell in expected.cells]:
        return [*problems, f"has cells {_seen(found)} in place of {_seen(expected)}"]
    for one, other in zip(expected.cells, found.cells, strict=True):
        if not np.allclose(_edges(one.box), _edges(other.box), atol=1.5):
            problems.append(f"has cell {one.cell_id} elsewhere")
        problems += [
            f"cell {one.cell_id} {text}" for text in cell_problems(one.classification, other.classification)
        ]
    return problems


def cell_problems(expected: Classification | None, found: Classification | None) -> list[str]:
    """In what a cell's classification differs from the undisturbed one; empty when it is the same.

    Of a degraded answer only what its members said is compared: the vote is of fewer.
    """
    if expected is None or found is None:
        return [] if expected is found else ["is named once and not the other time"]
    problems = []
    members = {member.model: member.leaf_probabilities for member in expected.members}
    for member in found.members:
        if (known := members.get(member.model)) is None:
            problems.append(f"was seen by {member.model}")
        elif any(abs(known[leaf] - share) > TOLERANCE for leaf, share in member.leaf_probabilities.items()):
            problems.append(f"looked different to {member.model}")
    if found.degraded:
        return problems
    shares = expected.leaf_probabilities
    if any(abs(shares[leaf] - share) > TOLERANCE for leaf, share in found.leaf_probabilities.items()):
        problems.append("has other probabilities")
    if (found.primary_type, found.identified) != (expected.primary_type, expected.identified):
        problems.append("is named differently")
    return problems


def is_clear(said: Classification, by: Provenance) -> bool:
    """Whether rounding can make it neither another type nor, from identified, unidentified or the other way round."""
    first, second, *_ = sorted(said.leaf_probabilities.values(), reverse=True)
    near = [
        (first - second, 0.0),
        (said.probability, by.identify_threshold),
        (said.ood_score, by.ood_limit),
        (said.disagreement, by.disagreement_limit),
    ]
    return not any(
        value is not None and limit is not None and abs(value - limit) <= 2 * TOLERANCE
        for value, limit in near
    )


def smear_problems(result: SmearResult, sent: Mapping[str, FieldResult], heard: Sequence[str]) -> list[str]:
    """In what a smear's result is not the sum of what an undisturbed stack says of its fields, each counted once.

    Args:
        sent: by field id, the undisturbed stack's results.
        heard: ids of the results that came on the way.
    """
    problems = []
    twice = [name for name, times in Counter(heard).items() if times > 1]
    if twice:
        problems.append(f"told twice of {', '.join(twice)}")
    if sorted(result_ids := [each.field_id for each in result.fields]) != sorted(sent):
        problems.append(f"has {len(result_ids)} results for {len(sent)} fields")
    failed = len(result.failed_field_ids)
    if result.fields_counted + failed != len(sent):
        problems.append(f"counted {result.fields_counted} and failed {failed} of {len(sent)} fields")
    # What a degraded ensemble says may differ; then only the sum of what it said can be checked.
    degraded = any(
        cell.classification and cell.classification.degraded for each in result.fields for cell in each.cells
    )
    counted = _counts(result.fields if degraded or failed else sent.values())
    problems += [
        f"counts {share.count} of {share.type} in place of {counted[share.type]}"
        for share in result.differential.leukocytes
        if share.count != counted[share.type]
    ]
    return problems


def _counts(fields: Iterable[FieldResult]) -> Counter[CellType | None]:
    return Counter(
        cell.classification.primary_type
        for each in fields
        for cell in each.cells
        if cell.classification is not None and cell.identified
    )


def _edges(box: Box) -> tuple[float, ...]:
    return box.x0, box.y0, box.x1, box.y1


def _seen(result: FieldResult) -> str:
    return ", ".join(
        f"{cell.cell_id} ({cell.score:.3f}; {' '.join(f'{edge:.1f}' for edge in _edges(cell.box))})"
        for cell in result.cells
    )
