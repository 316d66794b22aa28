"""Names the cells of one request: reads its crops, asks the networks, decides, and puts every answer in its place.

And says of one cell what in its crop speaks for a type.
"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from hemaserve.cells import CellType
from hemaserve.errors import InvalidArgument
from services.classifier.catalogue import ModelCatalogue
from services.classifier.crops import CropBatch, CropReader, EncodedCrop
from services.classifier.decision import Decision
from services.classifier.ensemble import Answer, Networks
from services.classifier.explanation import Explanation, check_type, explanation
from services.classifier.metrics import ClassifierMetrics
from services.classifier.profiles import SiteProfiles, StoredProfile
from services.classifier.shadow import Shadow
from services.runtime.admission import Admission
from services.runtime.remote import Deadline
from services.runtime.stages import stage


@dataclass(frozen=True, slots=True)
class NamedCell:
    """What came of one crop that could be read.

    Attributes:
        decision: what is said about the cell.
        row: its row in the answer's arrays.
    """

    decision: Decision
    row: int


@dataclass(frozen=True, slots=True)
class ClassifiedCrops:
    """What came of the crops of one request.

    Attributes:
        answer: what the networks said about the crops that could be read.
        outcomes: one for each crop, in their order.
        site_profile: the profile that corrected the crops; None when none did.
    """

    answer: Answer
    outcomes: list[NamedCell | InvalidArgument]
    site_profile: StoredProfile | None = None


@dataclass(frozen=True, slots=True)
class ExplainedCrop:
    """What came of one crop that was to be explained.

    Attributes:
        answer: what the networks said about it.
        cell: what is said about the cell.
        explanation: what in the crop speaks for a type.
        site_profile: the profile that corrected the crop; None when none did.
    """

    answer: Answer
    cell: NamedCell
    explanation: Explanation
    site_profile: StoredProfile | None


class Classifier:
    """Names cells, and explains the names.

    Args:
        catalogue: where models are found by name.
        networks: whom to ask.
        reader: makes pixels of crops.
        profiles: where site profiles are found by name.
        capacity: crops that are worked on at one time, over all requests: pixels are copied several times on their way
            to Triton, and a request that waits for its turn costs only what it brought.
        shadow: asks another version too, where a request says so.
        metrics: where the figures of cells go.
    """

    def __init__(
        self,
        catalogue: ModelCatalogue,
        networks: Networks,
        reader: CropReader,
        profiles: SiteProfiles,
        capacity: Admission,
        *,
        shadow: Shadow,
        metrics: ClassifierMetrics | None = None,
    ) -> None:
        self._catalogue = catalogue
        self._networks = networks
        self._reader = reader
        self._profiles = profiles
        self._capacity = capacity
        self._shadow = shadow
        self._metrics = metrics or ClassifierMetrics()

    def caller_at_work(self) -> AbstractContextManager[None]:
        """Inside the block somebody waits for an answer: what nobody waits for is not begun."""
        return self._shadow.caller_at_work()

    async def classify(
        self,
        model_name: str,
        crops: list[EncodedCrop],
        *,
        site_profile: str = "",
        shadow_model: str = "",
        timeout_s: float,
    ) -> ClassifiedCrops:
        """Name the cell in each crop; one that cannot be read becomes an error in its own place.

        Args:
            model_name: empty for the default model.
            crops: emptied once they are read: a request may bring megabytes.
            site_profile: name of the profile that corrects the crops' colours; empty for none.
            shadow_model: name of the model whose answers are compared, and not returned; empty for none.

        Raises:
            NotFound: there is no such model.
            InvalidArgument: there is no such site profile, or it cannot be used.
            ResourceExhausted: there is too much to do.
            DomainError: what `Networks.answer` raises.
        """
        deadline = Deadline(timeout_s)
        model = await self._catalogue.get(model_name)
        profile = await self._profile(site_profile)
        count = len(crops)
        async with self._capacity.admitted(count, deadline=deadline):
            with stage("read"):
                batch, errors = await self._reader.read(crops, size=model.crop_size_px)
                crops.clear()
                batch = await _corrected(batch, profile)
            began_s = time.perf_counter()
            with stage("infer"):
                answer = await self._networks.answer(model, batch, timeout_s=deadline.remaining_s())
            took_s = time.perf_counter() - began_s
        with stage("vote"):
            decisions = answer.decisions()
        self._metrics.named(answer, decisions)
        if shadow_model:
            self._shadow.offer(shadow_model, batch, answer, decisions, took_s)
        named = iter(_named(decisions))
        outcomes = [errors[index] if index in errors else next(named) for index in range(count)]
        return ClassifiedCrops(answer, outcomes, profile)

    async def explain(
        self,
        model_name: str,
        crop: EncodedCrop,
        cell_type: CellType | None = None,
        *,
        site_profile: str = "",
        timeout_s: float,
    ) -> ExplainedCrop:
        """Name the cell in a crop, and say what in the crop speaks for a type.

        Args:
            model_name: empty for the default model.
            cell_type: the type to explain; None for the one that the cell is given.
            site_profile: name of the profile that corrects the crop's colours; empty for none.

        Raises:
            NotFound: there is no such model.
            FailedPrecondition: its answers cannot be explained.
            InvalidArgument: the crop cannot be read, the model cannot answer the type, or there is no such site
                profile.
            ResourceExhausted: there is too much to do.
            DomainError: what `Networks.answer` raises.
        """
        deadline = Deadline(timeout_s)
        model = await self._catalogue.get(model_name)
        self._catalogue.check_explainable(model)
        if cell_type is not None:
            check_type(cell_type, model.leaf_types)
        profile = await self._profile(site_profile)
        async with self._capacity.admitted(deadline=deadline):
            with stage("read"):
                pixels = await self._reader.read_one(crop, size=model.crop_size_px)
                batch = await _corrected(pixels[None], profile)
            with stage("infer"):
                answer = await self._networks.answer(
                    model, batch, timeout_s=deadline.remaining_s(), evidence=True
                )
        with stage("vote"):
            (cell,) = _named(answer.decisions())
        with stage("explain"):
            opinions = answer.opinions or {model.name: answer.probabilities}
            explained = explanation(
                {name: rows[0] for name, rows in answer.evidence.items()},
                {name: rows[0] for name, rows in opinions.items()},
                model.leaf_types,
                cell.decision.cell_type if cell_type is None else cell_type,
            )
        return ExplainedCrop(answer, cell, explained, profile)

    async def _profile(self, name: str) -> StoredProfile | None:
        return await asyncio.to_thread(self._profiles.get, name) if name else None


async def _corrected(batch: CropBatch, profile: StoredProfile | None) -> CropBatch:
    return batch if profile is None else await asyncio.to_thread(profile.correct, batch)


def _named(decisions: Sequence[Decision]) -> list[NamedCell]:
    return [NamedCell(decision, row) for row, decision in enumerate(decisions)]
