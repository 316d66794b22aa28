"""The gateway in front of the real detector and the real classifier, on the real Triton."""

import grpc.aio
import pytest

from hemaserve.v1 import gateway_pb2, gateway_pb2_grpc
from services.classifier.application import open_application as open_classifier
from services.classifier.settings import ClassifierSettings
from services.detector.application import open_application as open_detector
from services.detector.settings import DetectorSettings
from services.gateway.application import open_application as open_gateway
from services.gateway.settings import GatewaySettings
from services.runtime.server import running

ANYWHERE = {"listen": "127.0.0.1:0", "metrics_listen": "127.0.0.1:0"}


@pytest.fixture(scope="session")
async def behind(triton):
    """Settings of a gateway: where the detector and the classifier listen."""
    detector = DetectorSettings(triton_address=triton, **ANYWHERE)
    classifier = ClassifierSettings(triton_address=triton, **ANYWHERE)
    async with (
        running(await open_detector(detector), detector, name="detector") as found,
        running(await open_classifier(classifier), classifier, name="classifier") as named,
    ):
        yield {"detector_address": found.address, "classifier_address": named.address}


@pytest.fixture(scope="session")
async def gateway_address(behind):
    settings = GatewaySettings(**behind, **ANYWHERE)
    async with running(await open_gateway(settings), settings, name="gateway") as server:
        yield server.address


@pytest.fixture(scope="session")
async def stub(gateway_address):
    options = [("grpc.max_send_message_length", 72 * 2**20)]
    async with grpc.aio.insecure_channel(gateway_address, options=options) as channel:
        await channel.channel_ready()
        yield gateway_pb2_grpc.SmearServiceStub(channel)


@pytest.fixture(scope="session")
def images(field_files):
    """Some fifteen fields, as files."""
    return [path.read_bytes() for path in field_files[:15]]


@pytest.fixture(scope="session")
def smear_fields(images):
    return [
        gateway_pb2.Field(field_id=f"field-{number}", sequence=number, image=image)
        for number, image in enumerate(images)
    ]
