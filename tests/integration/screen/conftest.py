"""The whole path on a Triton that loads one classifier and one detector, and others only when first asked for."""

from __future__ import annotations

import re
import shutil
from contextlib import AsyncExitStack

import grpc.aio
import numpy as np
import pytest

from hemaserve.v1 import gateway_pb2_grpc
from services.classifier.application import open_application as open_classifier
from services.classifier.settings import ClassifierSettings
from services.detector.application import open_application as open_detector
from services.detector.settings import DetectorSettings
from services.gateway.application import open_application as open_gateway
from services.gateway.settings import GatewaySettings
from services.runtime.server import running
from services.triton.client import TritonClient

from ..conftest import REPOSITORY
from ..small_models import ITS_SHA256, onnx, tensor_config, write_model

ANYWHERE = {"listen": "127.0.0.1:0", "metrics_listen": "127.0.0.1:0"}
SCREENS = ("leukemia_field", "leukemia_cell")
CLASSIFIER, DETECTOR = "vit", "yolov8n"
ASLEEP = "xception"
COMMITTED = all((REPOSITORY / name / "1" / "model.onnx").is_file() for name in SCREENS)


def write_screen(repository, name, *, size, classes, flag_classes, input_name, task, crop_margin):
    """A network that says how dark its image is: the share of black is the probability of the classes that flag."""
    others = len(classes) - 1
    parameters = {
        "task": task,
        "title": f"A small {name}",
        "licence": "Apache-2.0",
        "sha256": ITS_SHA256,
        "preprocessing_version": "1",
        "classes": ",".join(classes),
        "flag_classes": ",".join(flag_classes),
        "flag_threshold": "0.3",
        "crop_margin": crop_margin,
    }
    said = "".join(
        f'parameters {{ key: "{key}" value {{ string_value: "{value}" }} }}\n'
        for key, value in parameters.items()
    )
    node = onnx.helper.make_node
    write_model(
        repository,
        name,
        tensor_config(
            f'{{name: "{input_name}" data_type: TYPE_UINT8 dims: [{size}, {size}, 3]}}',
            f'{{name: "probabilities" data_type: TYPE_FP32 dims: [{len(classes)}]}}',
            f"dynamic_batching {{}}\n{said}",
        ),
        nodes=[
            node("Cast", [input_name], ["numbers"], to=onnx.TensorProto.FLOAT),
            node("ReduceMean", ["numbers"], ["mean"], axes=[1, 2, 3], keepdims=0),
            node("Div", ["mean", "white"], ["flat"]),
            node("Unsqueeze", ["flat", "last"], ["bright"]),
            node("Sub", ["one", "bright"], ["dark"]),
            node("Div", ["dark", "others"], ["each"]),
            node("Concat", ["bright", *["each"] * others], ["probabilities"], axis=1),
        ],
        inputs=[(input_name, "UINT8", ["N", size, size, 3])],
        outputs=[("probabilities", "FLOAT", ["N", len(classes)])],
        constants={
            "white": np.full((1,), 255, np.float32),
            "one": np.ones((1,), np.float32),
            "others": np.full((1,), others, np.float32),
            "last": np.array([1], np.int64),
        },
    )


@pytest.fixture(scope="session", params=["small", *(["committed"] if COMMITTED else [])])
def screening_repository(request, tmp_path_factory):
    """A repository with a classifier, the detector and the screen: small networks, and the committed ones if any."""
    folder = tmp_path_factory.mktemp("screen")
    names = (CLASSIFIER, DETECTOR, ASLEEP, *(SCREENS if request.param == "committed" else ()))
    for name in names:
        shutil.copytree(REPOSITORY / name, folder / name)
    if request.param == "small":
        margin = re.search(
            r'"crop_margin" value: { string_value: "([\d.]+)"', (folder / "vit/config.pbtxt").read_text()
        )
        write_screen(
            folder,
            "leukemia_field",
            size=64,
            classes=["benign", "early", "pre", "pro"],
            flag_classes=["early", "pre", "pro"],
            input_name="fields",
            task="screen_field",
            crop_margin="0",
        )
        write_screen(
            folder,
            "leukemia_cell",
            size=96,
            classes=["benign", "blast-like"],
            flag_classes=["blast-like"],
            input_name="crops",
            task="screen_cell",
            crop_margin=margin[1],
        )
    return folder


@pytest.fixture(scope="session")
async def screening(start_triton, screening_repository):
    """A stub of the gateway, and a client of the Triton behind it all."""
    async with AsyncExitStack() as stack:
        server = stack.enter_context(start_triton(screening_repository, models=(CLASSIFIER, DETECTOR)))
        address = server.grpc_address
        detector = DetectorSettings(triton_address=address, **ANYWHERE)
        classifier = ClassifierSettings(
            triton_address=address, default_model=CLASSIFIER, default_members=(), **ANYWHERE
        )
        found = await stack.enter_async_context(
            running(await open_detector(detector), detector, name="detector")
        )
        named = await stack.enter_async_context(
            running(await open_classifier(classifier), classifier, name="classifier")
        )
        gateway = GatewaySettings(
            detector_address=found.address, classifier_address=named.address, models_max_age_s=0, **ANYWHERE
        )
        front = await stack.enter_async_context(running(await open_gateway(gateway), gateway, name="gateway"))
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(front.address))
        triton = await stack.enter_async_context(TritonClient(address))
        yield gateway_pb2_grpc.SmearServiceStub(channel), triton
