"""The gateway as a whole: health that follows what is behind it, models, and logs that keep secrets."""

import grpc
import pytest
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc

from hemaserve.v1 import cells_pb2, gateway_pb2
from services.gateway.settings import GatewaySettings

SERVICE = "hemaserve.v1.SmearService"
SEGMENTED = cells_pb2.CELL_TYPE_NEUTROPHIL_SEGMENTED


@pytest.mark.parametrize("behind", ["detector", "classifier"])
async def test_the_gateway_serves_only_while_what_is_behind_it_serves(make_world, behind):
    world = await make_world()
    watch = health_pb2_grpc.HealthStub(world.channel).Watch(
        health_pb2.HealthCheckRequest(service=SERVICE), timeout=20
    )

    async def says(status: int) -> None:
        while (await watch.read()).status != status:
            pass

    await says(health_pb2.HealthCheckResponse.SERVING)
    getattr(world, behind).serving = False
    await says(health_pb2.HealthCheckResponse.NOT_SERVING)
    getattr(world, behind).serving = True
    await says(health_pb2.HealthCheckResponse.SERVING)
    watch.cancel()


async def test_models_of_both_services_are_listed_by_task_and_name(world):
    models = (await world.stub.ListModels(gateway_pb2.ListModelsRequest())).models
    assert [model.name for model in models] == ["yolo", "vit", "xception", "leukemia_field", "leukemia_cell"]


async def test_a_classifier_that_is_not_loaded_yet_is_loaded_when_it_is_named(make_world):
    world = await make_world()
    world.classifier.asleep = ["swin"]
    field = world.field("f", [SEGMENTED])
    request = gateway_pb2.AnalyzeFieldRequest(field=field, options=gateway_pb2.AnalyzeOptions(model="swin"))
    answer = await world.stub.AnalyzeField(request)
    assert answer.result.provenance.classifier.name == "swin"
    assert world.classifier.models[-1] == "swin"


async def test_the_classifier_is_asked_for_its_models_once_and_not_for_every_field(make_world):
    world = await make_world()
    for _ in range(3):
        await world.stub.AnalyzeField(gateway_pb2.AnalyzeFieldRequest(field=world.field("f", [SEGMENTED])))
    assert world.classifier.lists == 1


async def test_what_is_not_remembered_any_more_is_asked_again(make_world):
    world = await make_world(models_max_age_s=0)
    for _ in range(3):
        await world.stub.AnalyzeField(gateway_pb2.AnalyzeFieldRequest(field=world.field("f", [SEGMENTED])))
    assert world.classifier.lists == 3


async def test_logs_hold_no_names_of_smears_fields_or_specimens(world):
    with structlog.testing.capture_logs() as logs:
        await world.smear(
            [
                world.field("FIELD-7", [SEGMENTED], sequence=1),
                gateway_pb2.Field(field_id="FIELD-8", sequence=2),
            ],
            smear_id="SMEAR-7",
            specimen="ACCESSION-7",
        )
        with pytest.raises(grpc.aio.AioRpcError):
            await world.smear([gateway_pb2.Field(field_id="FIELD-9" * 50)], smear_id="SMEAR-9")
    assert logs
    assert not [
        entry for entry in logs if any(word in str(entry) for word in ("FIELD-", "SMEAR-", "ACCESSION-"))
    ]


def test_settings_come_from_the_environment_and_explain_themselves(monkeypatch):
    monkeypatch.setenv("HEMASERVE_GATEWAY_DETECTOR_ADDRESS", "detector:50052")
    monkeypatch.setenv("HEMASERVE_GATEWAY_FIELDS_IN_FLIGHT", "7")
    settings = GatewaySettings()
    assert (settings.detector_address, settings.fields_in_flight) == ("detector:50052", 7)
    assert all(field.description for field in GatewaySettings.model_fields.values())
