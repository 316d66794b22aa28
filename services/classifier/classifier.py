"""Names the cells of one request: reads its crops, asks the networks, decides, and puts every answer in its place."""

import asyncio
from dataclasses import dataclass

from hemaserve.errors import InvalidArgument
from services.classifier.catalogue import ModelCatalogue
from services.classifier.concurrency import Capacity
from services.classifier.crops import CropLimits, EncodedCrop, read_crops
from services.classifier.decision import Decision, decide
from services.classifier.ensemble import Answer, Networks
from services.classifier.profiles import SiteProfiles, StoredProfile
from services.runtime.remote import Deadline


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


class Classifier:
    """Names cells.

    Args:
        catalogue: where models are found by name.
        networks: whom to ask.
        limits: what a crop may be.
        profiles: where site profiles are found by name.
        capacity: crops that are worked on at one time, over all requests: pixels are copied several times on their way
            to Triton, and a request that waits for its turn costs only what it brought.
    """

    def __init__(
        self,
        catalogue: ModelCatalogue,
        networks: Networks,
        limits: CropLimits,
        profiles: SiteProfiles,
        capacity: Capacity,
    ) -> None:
        self._catalogue = catalogue
        self._networks = networks
        self._limits = limits
        self._profiles = profiles
        self._capacity = capacity

    async def classify(
        self, model_name: str, crops: list[EncodedCrop], *, site_profile: str = "", timeout_s: float
    ) -> ClassifiedCrops:
        """Name the cell in each crop; one that cannot be read becomes an error in its own place.

        Args:
            model_name: empty for the default model.
            crops: emptied once they are read: a request may bring megabytes.
            site_profile: name of the profile that corrects the crops' colours; empty for none.

        Raises:
            NotFound: there is no such model.
            InvalidArgument: there is no such site profile, or it cannot be used.
            DomainError: what `Networks.answer` raises.
        """
        deadline = Deadline(timeout_s)
        model = await self._catalogue.get(model_name)
        profile = await asyncio.to_thread(self._profiles.get, site_profile) if site_profile else None
        count = len(crops)
        async with self._capacity.room_for(count):
            # Decoding and scaling some hundred files takes long enough to hold up the other streams.
            batch, errors = await asyncio.to_thread(
                read_crops, crops, size=model.crop_size_px, limits=self._limits
            )
            crops.clear()
            if profile is not None:
                batch = await asyncio.to_thread(profile.correct, batch)
            answer = await self._networks.answer(model, batch, timeout_s=deadline.remaining_s())
        decisions = decide(
            answer.probabilities,
            model.leaf_types,
            answer.thresholds,
            ood_scores=answer.ood_scores,
            disagreements=answer.disagreements,
        )
        named = iter([NamedCell(decision, row) for row, decision in enumerate(decisions)])
        outcomes = [errors[index] if index in errors else next(named) for index in range(count)]
        return ClassifiedCrops(answer, outcomes, profile)
