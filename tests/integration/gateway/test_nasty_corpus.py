"""All nasty files and absurd requests, by every way in, to the real services: each is refused, and nobody is hurt."""

import ctypes
import gc

import grpc.aio
import psutil
import pytest

from benchmarks.nasty.bytes_of import encoded, picture
from benchmarks.nasty.files import nasty_files
from benchmarks.nasty.requests import absurd_requests, examples, methods
from benchmarks.nasty.sending import Report, Services, send_absurd, send_files, send_unreadable
from hemaserve.v1 import classifier_pb2_grpc, detector_pb2_grpc, gateway_pb2, gateway_pb2_grpc

pytestmark = pytest.mark.slow  # some thousands of calls

GROWTH_BYTES = 64 * 2**20
"""More than one pass may leave behind in services, client and test, which all are this process."""


@pytest.fixture(scope="module")
async def channels(gateway_address, behind):
    options = [("grpc.max_send_message_length", 72 * 2**20)]
    async with (
        grpc.aio.insecure_channel(gateway_address, options=options) as gateway,
        grpc.aio.insecure_channel(behind["detector_address"], options=options) as detector,
        grpc.aio.insecure_channel(behind["classifier_address"], options=options) as classifier,
    ):
        yield {"SmearService": gateway, "DetectorService": detector, "ClassifierService": classifier}


@pytest.fixture(scope="module")
def services(channels):
    return Services(
        gateway_pb2_grpc.SmearServiceStub(channels["SmearService"]),
        detector_pb2_grpc.DetectorServiceStub(channels["DetectorService"]),
        classifier_pb2_grpc.ClassifierServiceStub(channels["ClassifierService"]),
    )


async def good(services, image):
    request = gateway_pb2.AnalyzeFieldRequest(field=gateway_pb2.Field(image=image))
    return (await services.gateway.AnalyzeField(request, timeout=120)).result


async def test_every_nasty_file_is_refused_by_every_way_in_and_good_ones_are_served_between(services, images):
    corpus = nasty_files()
    report = Report()
    expected = await good(services, images[0])
    quarter = len(corpus) // 4 + 1
    sizes = []
    for start in range(0, len(corpus), quarter):
        await send_files(services, corpus[start : start + quarter], report)
        assert (await good(services, images[0])).result_id == expected.result_id
    assert report.wrong == []
    assert report.sent > 200 * 8
    # Once more, now that everything has been loaded that ever will be.
    for _ in range(2):
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)  # what is free is not lost
        sizes.append(psutil.Process().memory_info().rss)
        await send_files(services, corpus[:quarter], report)
    assert report.wrong == []
    assert sizes[1] - sizes[0] < GROWTH_BYTES


async def test_every_absurd_request_is_refused(services, images):
    report = Report()
    known = examples(encoded(picture(), "PNG"))
    absurd = [each for each in absurd_requests(known, too_many_bytes=1) if not each.value.endswith("bytes")]
    await send_absurd(services, absurd, report)
    assert report.wrong == []
    assert report.sent > 200


async def test_what_is_no_message_is_the_callers_mistake(channels):
    report = Report()
    await send_unreadable(channels, methods(), report)
    assert report.wrong == []


async def test_metadata_without_end_is_refused(services, images):
    request = gateway_pb2.AnalyzeFieldRequest(field=gateway_pb2.Field(image=images[0]))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await services.gateway.AnalyzeField(request, metadata=[("x-much", "y" * 100_000)], timeout=60)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert (await good(services, images[0])).cells
