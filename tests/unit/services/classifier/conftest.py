"""A Triton that answers from arithmetic, with the failures that a test asks it for."""

import asyncio
from dataclasses import dataclass, field

import numpy as np
import pytest

from hemaserve.cells import LEAF_TYPES
from hemaserve.errors import DomainError, NotFound, Unavailable
from services.classifier.catalogue import ModelCatalogue
from services.classifier.ensemble import Networks
from services.triton.client import ModelDescription, TensorDescription

SIZE = 96
MAX_BATCH = 8
LEAVES = len(LEAF_TYPES)
MEMBERS = ("xception", "vit")
IDENTIFY = {"xception": 0.7, "vit": 0.8, "ensemble": 0.6}
VOTE_TEMPERATURE = 0.5


def describe(name: str, **changes: str) -> ModelDescription:
    members = MEMBERS if name == "ensemble" else ()
    parameters = {
        "task": "classification",
        "title": f"The {name}",
        "licence": "Apache-2.0",
        "sha256": f"{len(name):064x}",
        "preprocessing_version": "1",
        "leaf_types": ",".join(LEAF_TYPES),
        "crop_margin": "0.15",
        "identify_threshold": str(IDENTIFY.get(name, 0.5)),
        "leaf_threshold": "0.6",
    }
    if members:
        parameters |= {"members": ",".join(members), "vote_temperature": str(VOTE_TEMPERATURE)}
    parameters |= changes
    return ModelDescription(
        name=name,
        version="1",
        versions=("1",),
        platform="ensemble" if members else "",
        backend="" if members else "onnxruntime",
        max_batch_size=MAX_BATCH,
        inputs=(TensorDescription("crops", "UINT8", (SIZE, SIZE, 3)),),
        outputs=tuple(
            TensorDescription(output, "FP32", (LEAVES,))
            for output in ("probabilities", *(f"{member}_probabilities" for member in members))
        ),
        parameters=parameters,
    )


def opinion(member: str, crops: np.ndarray) -> np.ndarray:
    """What a member says: a distribution that depends on the member and on the crop's first pixel alone."""
    tags = crops[:, 0, 0, :].astype(np.int64) @ [1, 256, 65_536]
    steps = np.arange(1, LEAVES + 1) * (3 if member == "vit" else 2)
    scores = 1.0 + (tags[:, None] * steps + steps**2) % 17
    return (scores / scores.sum(axis=1, keepdims=True)).astype(np.float32)


def voted(crops: np.ndarray, temperature: float = VOTE_TEMPERATURE) -> np.ndarray:
    mean = np.mean([opinion(member, crops) for member in MEMBERS], axis=0)
    sharpened = mean ** (1 / temperature)
    return sharpened / sharpened.sum(axis=1, keepdims=True)


@dataclass
class ArithmeticTriton:
    """Stands for `TritonClient`; keeps to the batch size that it declares.

    Attributes:
        descriptions: what is loaded.
        failing: the error that a model answers with.
        spoilt: the output that a model answers with instead.
        late: models that answer only when their time is up.
        reachable: whether it answers at all.
        batches: the model and rows of each inference, in the order in which they began.
        cancelled: models whose inference was cancelled.
        looks: how often its models were asked for.
    """

    descriptions: dict[str, ModelDescription]
    failing: dict[str, DomainError] = field(default_factory=dict)
    spoilt: dict[str, np.ndarray] = field(default_factory=dict)
    late: set[str] = field(default_factory=set)
    reachable: bool = True
    batches: list[tuple[str, int]] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    looks: int = 0

    def _check_reachable(self) -> None:
        if not self.reachable:
            raise Unavailable("the networks are not available at the moment")

    describe = staticmethod(describe)
    opinion = staticmethod(opinion)
    voted = staticmethod(voted)

    def unload(self, *names: str) -> None:
        for name in names:
            del self.descriptions[name]

    async def models(self) -> list[str]:
        self._check_reachable()
        self.looks += 1
        return sorted(self.descriptions)

    async def ready(self, model: str) -> bool:
        return self.reachable and model in self.descriptions

    async def model_config(self, model: str) -> ModelDescription:
        self._check_reachable()
        if model not in self.descriptions:
            raise NotFound("no such network is loaded")
        return self.descriptions[model]

    async def infer(self, model, inputs, outputs, *, timeout_s):
        self._check_reachable()
        crops = inputs["crops"]
        assert 0 < len(crops) <= MAX_BATCH
        assert crops.dtype == np.uint8
        assert timeout_s > 0
        self.batches.append((model, len(crops)))
        if model not in self.descriptions:
            raise NotFound("no such network is loaded")
        if model in self.failing:
            raise self.failing[model]
        try:
            await asyncio.sleep(3600 if model in self.late else 0)
        except asyncio.CancelledError:
            self.cancelled.append(model)
            raise
        if model in self.spoilt:
            return dict.fromkeys(outputs, np.resize(self.spoilt[model], (len(crops), LEAVES)))
        if model != "ensemble":
            return {"probabilities": opinion(model, crops)}
        answers = {f"{member}_probabilities": opinion(member, crops) for member in MEMBERS}
        answers["probabilities"] = voted(crops).astype(np.float32)
        return {output: answers[output] for output in outputs}


@pytest.fixture
def triton() -> ArithmeticTriton:
    return ArithmeticTriton({name: describe(name) for name in (*MEMBERS, "ensemble")})


@pytest.fixture
def catalogue(triton) -> ModelCatalogue:
    return ModelCatalogue(triton, default="ensemble", default_members=MEMBERS)


@pytest.fixture
def networks(triton, catalogue) -> Networks:
    return Networks(triton, catalogue)


@pytest.fixture(scope="session")
def tagged_crops():
    return _tagged_crops


def _tagged_crops(tags) -> np.ndarray:
    """Crops that are told apart by their pixels: uint8 [N, SIZE, SIZE, 3]."""
    colours = [[tag % 256, tag // 256 % 256, tag // 65_536] for tag in tags]
    return np.ascontiguousarray(
        np.broadcast_to(np.array(colours, np.uint8).reshape(-1, 1, 1, 3), (len(colours), SIZE, SIZE, 3))
    )
