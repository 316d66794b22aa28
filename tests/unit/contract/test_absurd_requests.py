"""No field of any request takes whatever it is given: a field that is new in the contract needs a limit to pass."""

import asyncio
import re

import pytest

from benchmarks.nasty.bytes_of import encoded, picture
from benchmarks.nasty.requests import LENIENT, absurd_requests, examples, methods
from hemaserve.errors import InvalidArgument
from hemaserve.image_files.checks import check_file
from hemaserve.image_files.facts import ImageLimits
from hemaserve.v1 import cells_pb2
from services.classifier import translate
from services.classifier.crops import CropLimits, CropReader
from services.detector.requests import read_order
from services.gateway import requests
from services.gateway.located_cells import RefusedCell
from services.gateway.orders import RefusedField
from services.runtime.decoders import Decoders
from services.runtime.translate import requested_type

MOST = 100_000
IMAGE = encoded(picture(), "PNG")
LOOP = asyncio.new_event_loop()
CROPS = CropReader(Decoders(1), CropLimits(min_side_px=16, max_side_px=100))


def of_the_gateway(parse):
    """Reading with the limit on bytes that these tests have; what is refused in its place counts as refused."""

    def read(request):
        read = parse(request)
        for part in read if isinstance(read, list) else [read]:
            if isinstance(part, (RefusedCell, RefusedField)):
                raise part.error

    return read


def analyze_field(request):
    requests.field_order(request.field, max_image_bytes=MOST)
    requests.analyze_options(request.options, path="options")
    requests.priority(request.priority)


def detect_cells(request):
    requests.field_order(request.field, max_image_bytes=MOST)
    requests.detection_options(request)
    requests.priority(request.priority)


def analyze_smear(request):
    if request.WhichOneof("message") == "open":
        return requests.smear_order(request)
    return requests.smear_field(request, max_image_bytes=MOST)


def about_cells(request):
    requests.model_name(request.model)
    requests.site_profile_name(request.site_profile)
    requests.priority(request.priority)


def classify_cells(request):
    about_cells(request)
    return requests.located_cells(request, max_image_bytes=MOST)


def explain_cell(request):
    about_cells(request)
    requested_type(request.type, field="type")
    return requests.cell_to_explain(request, max_image_bytes=MOST)


def image(request):
    check_file(request.image, limits=ImageLimits(max_bytes=MOST), field="image")


def detect(request):
    read_order(request)
    image(request)


def crops(read):
    for crop in read:
        # Raw ones, so no decoder is ever started.
        LOOP.run_until_complete(CROPS.read_one(crop, size=32))


READERS = {
    "AnalyzeField": analyze_field,
    "AnalyzeSmear": of_the_gateway(analyze_smear),
    "DetectCells": detect_cells,
    "ClassifyCells": of_the_gateway(classify_cells),
    "ExplainCell": of_the_gateway(explain_cell),
    "Detect": detect,
    "Classify": lambda request: crops(translate.request_from_proto(request, max_cells=256).crops),
    "Explain": lambda request: crops([translate.explain_request_from_proto(request).crop]),
    "ScreenCells": lambda request: crops(translate.crops_from_proto(request, max_cells=256)),
    "ScreenField": image,
}


def test_every_method_that_takes_anything_is_looked_at():
    assert {method.name for method in methods()} == READERS.keys() == examples(IMAGE).keys()


@pytest.mark.parametrize("method", READERS)
def test_the_examples_are_sound(method):
    for request in examples(IMAGE)[method]:
        READERS[method](request)


@pytest.mark.parametrize("method", READERS)
def test_an_absurd_value_is_refused_by_the_field_that_it_is_in(method):
    wrong = []
    seen = 0
    for absurd in absurd_requests({**examples(IMAGE)}, too_many_bytes=MOST + 1):
        if absurd.method != method or absurd.path in LENIENT.get(method, {}):
            continue
        seen += 1
        try:
            READERS[method](absurd.request)
        except InvalidArgument as error:
            if re.sub(r"\[\d+]", "", error.field) != absurd.path:
                wrong.append(f"{absurd.path} = {absurd.value}: blamed on {error.field}")
        else:
            wrong.append(f"{absurd.path} = {absurd.value}: accepted")
    assert seen
    assert wrong == []


def test_raw_crops_are_as_large_as_they_say():
    assert examples(IMAGE)["Explain"][0].cell.crop.encoding == cells_pb2.CROP_ENCODING_RAW_RGB8
