"""A Triton that answers from arithmetic, with the failures that a test asks it for."""

import asyncio
from dataclasses import dataclass, field, replace
from itertools import combinations

import numpy as np
import pytest

from hemaserve.cells import LEAF_TYPES
from hemaserve.errors import DomainError, NotFound, Unavailable
from services.classifier.catalogue import ModelCatalogue
from services.classifier.ensemble import Networks
from services.triton.descriptions import ModelDescription, TensorDescription
from services.triton.pace import PaceLimits, TritonPace

SIZE = 96
MAX_BATCH = 8
LEAVES = len(LEAF_TYPES)
MEMBERS = ("xception", "vit")
IDENTIFY = {"xception": 0.7, "vit": 0.8, "ensemble": 0.6}
VOTE_TEMPERATURE = 0.5

GRIDS = {"xception": (3, 3), "vit": (2, 4)}
"""Rows and columns of the places whose evidence a member gives."""

SCORING_MEMBERS = ("efficientnet", *MEMBERS)
"""Members that say how strange a crop is, and whose votes are calibrated for every subset of them."""


def describe(name: str, ensemble_of: tuple[str, ...] = MEMBERS, **changes: str) -> ModelDescription:
    members = ensemble_of if name == "ensemble" else ()
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


def vote_parameters(members: tuple[str, ...], prefix: str = "") -> dict[str, str]:
    """A calibration that can be told from that of any other members by its numbers."""
    size = len("".join(members))
    parameters = {
        "vote_temperature": str(size / 10),
        "identify_threshold": str(0.5 + size / 100),
        "leaf_threshold": "0.6",
        "ood_limit": str(size / 20),
        "disagreement_limit": str(size / 50),
    }
    return {f"{prefix}{key}": value for key, value in parameters.items()}


def calibration(members: tuple[str, ...]) -> dict[str, str]:
    """The parameters of an ensemble that is calibrated for every subset of its members."""
    parameters = {"members": ",".join(members), **vote_parameters(members)}
    for size in range(1, len(members)):
        for subset in combinations(members, size):
            parameters |= vote_parameters(subset, f"subset.{'+'.join(subset)}.")
    return parameters


def scoring(description: ModelDescription, **changes: str) -> ModelDescription:
    """The same model with an out-of-distribution score."""
    outputs = (*description.outputs, TensorDescription("ood_score", "FP32", (1,)))
    parameters = dict(description.parameters) | {"ood_limit": "1.5"} | changes
    return replace(description, outputs=outputs, parameters=parameters)


def explaining(description: ModelDescription) -> ModelDescription:
    """The same network with its evidence."""
    output = TensorDescription("evidence", "FP32", (LEAVES, *GRIDS.get(description.name, (3, 3))))
    return replace(description, outputs=(*description.outputs, output))


def evidence(member: str, crops: np.ndarray) -> np.ndarray:
    """What speaks for each leaf at each place, float32 [N, leaves, h, w]: another thing for each first pixel."""
    tags = crops[:, 0, 0, :].astype(np.int64) @ [1, 256, 65_536]
    rows, columns = GRIDS.get(member, (3, 3))
    places = np.arange(LEAVES * rows * columns).reshape(LEAVES, rows, columns)
    return (((places + 7) * (tags[:, None, None, None] + 3)) % 23 - 11).astype(np.float32)


def describe_vote(members: tuple[str, ...]) -> ModelDescription:
    parameters = {"task": "vote", **calibration(members)}
    return replace(describe("vote"), inputs=(), outputs=(), parameters=parameters)


def opinion(member: str, crops: np.ndarray) -> np.ndarray:
    """What a member says: a distribution that depends on the member and on the crop's first pixel alone."""
    tags = crops[:, 0, 0, :].astype(np.int64) @ [1, 256, 65_536]
    steps = np.arange(1, LEAVES + 1) * {"vit": 3, "xception": 2}.get(member, 5)
    scores = 1.0 + (tags[:, None] * steps + steps**2) % 17
    return (scores / scores.sum(axis=1, keepdims=True)).astype(np.float32)


def ood_score(member: str, crops: np.ndarray) -> np.ndarray:
    """How strange a member finds each crop, float32 [N, 1]: from -3 to 3."""
    return ((crops[:, :1, 0, 0].astype(np.float32) * len(member)) % 13) / 2 - 3


def voted(
    crops: np.ndarray, temperature: float = VOTE_TEMPERATURE, members: tuple[str, ...] = MEMBERS
) -> np.ndarray:
    mean = np.mean([opinion(member, crops) for member in members], axis=0)
    sharpened = mean ** (1 / temperature)
    return sharpened / sharpened.sum(axis=1, keepdims=True)


@dataclass
class ArithmeticTriton:
    """Stands for `TritonClient`; keeps to the batch size that it declares.

    Attributes:
        descriptions: what is loaded.
        failing: the error that a model answers with.
        spoilt: the output that a model answers with instead.
        spoilt_scores: the out-of-distribution score that a model answers with instead.
        spoilt_evidence: the evidence that a model answers with instead.
        asleep: what is in the repository and not loaded.
        same_answers: the model whose probabilities another one answers with.
        late: models that answer only when their time is up.
        reachable: whether it answers at all.
        batches: the model and rows of each inference, in the order in which they began.
        cancelled: models whose inference was cancelled.
        looks: how often its models were asked for.
    """

    descriptions: dict[str, ModelDescription]
    failing: dict[str, DomainError] = field(default_factory=dict)
    spoilt: dict[str, np.ndarray] = field(default_factory=dict)
    spoilt_scores: dict[str, float] = field(default_factory=dict)
    spoilt_evidence: dict[str, np.ndarray] = field(default_factory=dict)
    same_answers: dict[str, str] = field(default_factory=dict)
    late: set[str] = field(default_factory=set)
    asleep: dict[str, ModelDescription] = field(default_factory=dict)
    loads: list[str] = field(default_factory=list)
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
    ood_score = staticmethod(ood_score)
    evidence = staticmethod(evidence)
    explaining = staticmethod(explaining)

    def unload(self, *names: str) -> None:
        for name in names:
            del self.descriptions[name]

    async def models(self) -> list[str]:
        self._check_reachable()
        self.looks += 1
        return sorted(self.descriptions)

    async def ready(self, model: str) -> bool:
        return self.reachable and model in self.descriptions

    async def load(self, model: str) -> bool:
        self.loads.append(model)
        if model not in self.asleep:
            return False
        self.descriptions[model] = self.asleep.pop(model)
        return True

    async def loadable(self) -> list[str]:
        return sorted(self.asleep)

    async def model_config(self, model: str) -> ModelDescription:
        self._check_reachable()
        if model not in self.descriptions:
            raise NotFound("no such network is loaded")
        return self.descriptions[model]

    async def infer(self, model, inputs, outputs, *, timeout_s, priority=0, headers=None):
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
        answers = {
            "probabilities": opinion(self.same_answers.get(model, model), crops),
            "ood_score": ood_score(model, crops),
            "evidence": evidence(model, crops),
        }
        if model == "ensemble":
            parameters = self.descriptions[model].parameters
            members = tuple(parameters["members"].split(","))
            temperature = float(parameters["vote_temperature"])
            answers = {f"{member}_probabilities": opinion(member, crops) for member in members}
            answers["probabilities"] = voted(crops, temperature, members).astype(np.float32)
            answers["ood_score"] = np.mean([ood_score(member, crops) for member in members], axis=0)
        if model in self.spoilt_evidence:
            answers["evidence"] = self.spoilt_evidence[model]
        if model in self.spoilt_scores:
            answers["ood_score"] = np.full((len(crops), 1), self.spoilt_scores[model], np.float32)
        return {output: answers[output] for output in outputs}


@pytest.fixture
def triton() -> ArithmeticTriton:
    return ArithmeticTriton({name: describe(name) for name in (*MEMBERS, "ensemble")})


@pytest.fixture
def explaining_triton(triton) -> ArithmeticTriton:
    """The same, with members that can be explained and one more network that cannot."""
    triton.descriptions |= {name: explaining(describe(name)) for name in MEMBERS}
    triton.descriptions["plain"] = describe("plain")
    return triton


@pytest.fixture
def catalogue(triton) -> ModelCatalogue:
    return ModelCatalogue(triton, default="ensemble", default_members=MEMBERS)


@pytest.fixture
def networks(triton, catalogue) -> Networks:
    return Networks(TritonPace(triton, PaceLimits(1000, 8)), catalogue)


@pytest.fixture
def scoring_triton() -> ArithmeticTriton:
    """With three members that say how strange a crop is, and a vote that is calibrated for every subset of them."""
    members = {name: scoring(describe(name)) for name in SCORING_MEMBERS}
    ensemble = scoring(describe("ensemble", SCORING_MEMBERS), **calibration(SCORING_MEMBERS))
    return ArithmeticTriton({**members, "ensemble": ensemble, "vote": describe_vote(SCORING_MEMBERS)})


@pytest.fixture
def scoring_catalogue(scoring_triton) -> ModelCatalogue:
    return ModelCatalogue(scoring_triton, default="ensemble", default_members=SCORING_MEMBERS)


@pytest.fixture
def scoring_networks(scoring_triton, scoring_catalogue) -> Networks:
    return Networks(TritonPace(scoring_triton, PaceLimits(1000, 8)), scoring_catalogue)


@pytest.fixture(scope="session")
def tagged_crops():
    return _tagged_crops


def _tagged_crops(tags) -> np.ndarray:
    """Crops that are told apart by their pixels: uint8 [N, SIZE, SIZE, 3]."""
    colours = [[tag % 256, tag // 256 % 256, tag // 65_536] for tag in tags]
    return np.ascontiguousarray(
        np.broadcast_to(np.array(colours, np.uint8).reshape(-1, 1, 1, 3), (len(colours), SIZE, SIZE, 3))
    )
