"""The pipeline that peers run: each field its own answer, whatever fields go with it, as our services would give it."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.peers.describing import describe
from benchmarks.peers.description import Description
from benchmarks.peers.pipeline import Opinion, Pipeline, look_through
from hemaserve import synthetic
from hemaserve.cells import Kind
from hemaserve.errors import InvalidArgument
from hemaserve.geometry import Tile
from services.classifier.models import UnusableModelError
from services.detector.predictions import Candidates

REPOSITORY = Path(__file__).parents[4] / "model_repository"


@pytest.fixture(scope="module")
def description():
    return describe(REPOSITORY)


class FakeNetworks:
    """See one white cell in the middle of whatever square is not black, and red cells around it of the usual size."""

    def __init__(self, description):
        self.detector = description.detector
        self.leaves = len(description.ensemble.leaf_types)
        self.members = len(description.ensemble.members)
        self.batches = []
        self.crops = []

    def detect(self, squares):
        self.batches.append(len(squares))
        side, kinds = self.detector.input_px, self.detector.kinds
        red = self.detector.tiling.red_cell_share * side
        places = [(0.5, 0.5, 0.3 * side, Kind.WBC)] + [
            (0.15 + 0.14 * i, y, red, Kind.RBC) for i in range(6) for y in (0.2, 0.8)
        ]
        answer = np.zeros((len(squares), 4 + len(kinds), len(places)), np.float32)
        for row, square in enumerate(squares):
            for anchor, (x, y, size, kind) in enumerate(places):
                answer[row, :4, anchor] = x * side, y * side, size, size
                answer[row, 4 + kinds.index(kind), anchor] = 0.9 if square.any() else 0.0
        return answer

    def classify(self, crops):
        self.crops.append(len(crops))
        brightness = crops.reshape(len(crops), -1).mean(axis=1)
        leaf = (brightness // 32).astype(int) % self.leaves
        probabilities = np.full((len(crops), self.leaves), 0.001, np.float32)
        probabilities[np.arange(len(crops)), leaf] = 1 - 0.001 * (self.leaves - 1)
        return [Opinion(probabilities, np.zeros((len(crops), 1), np.float32))] * self.members


def field(brightness, width=416, height=416):
    return synthetic.encode_png(np.full((height, width, 3), brightness, np.uint8))


def test_fields_together_are_told_what_each_is_told_alone(description):
    fields = [field(40), field(0), field(200, 640, 480), field(90, 1600, 1200)]
    together = Pipeline(description, FakeNetworks(description)).analyze(fields)
    alone = [Pipeline(description, FakeNetworks(description)).analyze([one])[0] for one in fields]
    assert together == alone
    assert [bool(answer.cells) for answer in together] == [True, False, True, True]
    assert len({answer.cells[0].cell_type for answer in together if answer.cells}) == 3


def test_fields_share_the_networks_batches(description):
    networks = FakeNetworks(description)
    Pipeline(description, networks).analyze([field(brightness) for brightness in range(1, 41)])
    most = description.detector.max_batch_size
    assert networks.batches == [most] * (40 // most)
    crops = description.ensemble.max_batch_size
    assert networks.crops == [crops, 40 - crops]


def test_a_field_without_cells_never_bothers_the_classifier(description):
    networks = FakeNetworks(description)
    (answer,) = Pipeline(description, networks).analyze([field(0)])
    assert answer.cells == ()
    assert answer.counts == {"wbc": 0, "rbc": 0, "platelet": 0}
    assert networks.crops == []


def test_what_is_no_image_is_refused(description):
    with pytest.raises(InvalidArgument):
        Pipeline(description, FakeNetworks(description)).analyze([b"no image"])


def test_no_piece_of_a_field_is_looked_at_twice(description):
    looking = look_through(1600, 1200, description.detector)
    nothing = Candidates(np.empty((0, 4), np.float32), np.empty(0, np.float32), np.empty(0, np.intp))
    asked = []
    pieces = next(looking)
    found = None
    while found is None:
        asked += pieces
        try:
            pieces = looking.send([nothing] * len(pieces))
        except StopIteration as done:
            found = done.value
    assert len(found) == 0
    assert len(asked) == len(set(asked))
    assert Tile(0, 0, 1600, 1200) in asked


def test_the_description_is_that_of_the_default_profile_and_survives_its_way(description, tmp_path):
    assert description.detector.kinds == (Kind.WBC, Kind.RBC, Kind.PLATELET)
    assert set(description.sha256) == {"yolov8n", *description.ensemble.members}
    assert all(Path(file).is_file() for file in (description.detector.file, *description.ensemble.files))
    description.write(tmp_path / "pipeline.json")
    assert Description.read(tmp_path / "pipeline.json") == description


def test_a_repository_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises((OSError, UnusableModelError)):
        describe(tmp_path)
