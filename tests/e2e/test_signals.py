"""What the services show after real work is what is declared, all of it and nothing else; whoever calls them."""

import random
import re

import grpc
import pytest

from hemaserve import synthetic
from hemaserve.v1 import gateway_pb2, gateway_pb2_grpc
from services.runtime.foreign_signals import FOREIGN_METRICS
from services.runtime.signal_kinds import EVERY, OTHER, Needs, Owner
from services.runtime.signals import (
    ADMISSION_REFUSED,
    DEGRADED,
    METRICS,
    ROLLOUT_ASSIGNED,
    SHADOW_CELL_TIME,
    SHADOW_COMPARED,
    SHADOW_DISAGREED,
    SHADOW_DROPPED,
    STAGE_DURATION,
    TRITON_FAILED,
)
from services.runtime.span_signals import stages_of

from ..exposition import check, families, page

pytestmark = pytest.mark.e2e

TIMEOUT_S = 120
STRANGERS = 150
"""More names than any label may have values."""

SIDE_BY_SIDE = (ROLLOUT_ASSIGNED, SHADOW_COMPARED, SHADOW_DISAGREED, SHADOW_DROPPED, SHADOW_CELL_TIME)
"""What takes two versions of a network: test_rollout.py has them."""

RARE = {metric.name for metric in (ADMISSION_REFUSED, TRITON_FAILED, DEGRADED, *SIDE_BY_SIDE)}
"""What a healthy stack under little work need not have seen."""


def letters(number: int) -> str:
    return f"{random.Random(number).getrandbits(64):x}"


def work(stub: gateway_pb2_grpc.SmearServiceStub) -> None:
    image = synthetic.encode_png(synthetic.generate_field(5).image)
    field = gateway_pb2.Field(field_id="a", sequence=0, image=image)
    screen = gateway_pb2.AnalyzeOptions(screen=True)
    stub.AnalyzeField(gateway_pb2.AnalyzeFieldRequest(field=field, options=screen), timeout=TIMEOUT_S)
    stub.DetectCells(gateway_pb2.DetectCellsRequest(field=field), timeout=TIMEOUT_S)
    smear = [
        gateway_pb2.AnalyzeSmearRequest(open=gateway_pb2.OpenSmear(smear_id="s")),
        gateway_pb2.AnalyzeSmearRequest(field=field),
    ]
    list(stub.AnalyzeSmear(iter(smear), timeout=TIMEOUT_S))
    cell = gateway_pb2.LocatedCell(cell_id="a", image=image)
    list(stub.ClassifyCells(iter([gateway_pb2.ClassifyCellsRequest(cells=[cell])]), timeout=TIMEOUT_S))
    stub.ExplainCell(gateway_pb2.ExplainCellRequest(cell=cell), timeout=TIMEOUT_S)
    stub.ListModels(gateway_pb2.ListModelsRequest(), timeout=TIMEOUT_S)
    stub.ListSiteProfiles(gateway_pb2.ListSiteProfilesRequest(), timeout=TIMEOUT_S)


def hostility(channel: grpc.Channel, stub: gateway_pb2_grpc.SmearServiceStub) -> None:
    """Calls that name, in every place where a name can be given, one that nobody has."""
    image = synthetic.encode_png(synthetic.generate_field(6).image)[:200]
    for number in range(STRANGERS):
        name = letters(number)
        metadata = [("x-hemaserve-client", name), ("x-hemaserve-priority", name), ("traceparent", name)]
        for call, request in (
            (channel.unary_unary(f"/hemaserve.v1.SmearService/{name}"), b""),
            (channel.unary_unary(f"/{name}/AnalyzeField"), b""),
            (
                stub.AnalyzeField,
                gateway_pb2.AnalyzeFieldRequest(
                    field=gateway_pb2.Field(field_id=name, image=image + name.encode()), priority=77
                ),
            ),
        ):
            with pytest.raises(grpc.RpcError):
                call(request, timeout=TIMEOUT_S, metadata=metadata)
    for number in range(3):  # each of them is looked for in Triton's repository
        options = gateway_pb2.AnalyzeOptions(model=letters(number), detector_model=letters(number))
        whole = synthetic.encode_png(synthetic.generate_field(6).image)
        request = gateway_pb2.AnalyzeFieldRequest(field=gateway_pb2.Field(image=whole), options=options)
        with pytest.raises(grpc.RpcError):
            stub.AnalyzeField(request, timeout=TIMEOUT_S)


@pytest.fixture(scope="module")
def pages(stack) -> dict[Owner, str]:
    """What each service shows after all that."""
    with grpc.insecure_channel(stack.address) as channel:
        stub = gateway_pb2_grpc.SmearServiceStub(channel)
        work(stub)
        hostility(channel, stub)
    services = stack.state()["services"]
    return {owner: page(services[owner]["metrics_address"]) for owner in Owner}


@pytest.mark.parametrize("owner", EVERY)
def test_a_service_shows_what_is_declared_and_nothing_else(pages, owner):
    check(pages[owner], owner)


@pytest.mark.parametrize("owner", EVERY)
def test_under_work_all_that_is_declared_has_values(pages, owner):
    shown = families(pages[owner])
    needed = {metric.name for metric in METRICS if owner in metric.owners and metric.needs is Needs.NOTHING}
    assert {name for name in needed if not shown[name].label_sets} <= RARE
    count = re.compile(rf'^{STAGE_DURATION.name}_count{{stage="(\w+)"}} [1-9]', re.MULTILINE)
    assert set(count.findall(pages[owner])) == set(stages_of(owner))


@pytest.mark.parametrize("owner", EVERY)
def test_no_stranger_gets_a_series_of_its_own(pages, owner):
    for number in range(STRANGERS):
        assert letters(number) not in pages[owner]
    values = {
        value for family in families(pages[owner]).values() for each in family.label_sets for value in each
    }
    assert OTHER not in values


def test_triton_shows_what_our_rules_use(pages):
    shown = families(pages[Owner.TRITON], total="")
    for metric in FOREIGN_METRICS:
        if Owner.TRITON in metric.owners:
            family = shown[metric.name]
            assert family.kind == metric.kind
            assert any(labels.keys() == set(metric.labels) for labels in family.label_sets), metric.name
