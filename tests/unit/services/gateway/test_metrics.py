"""What a gateway shows that is set up with all that it can be."""

import json

import pytest
from prometheus_client import CollectorRegistry

from hemaserve.access.file import FORMAT
from hemaserve.certificates import make_certificates
from hemaserve.differential import ReviewReason
from hemaserve.results import Priority
from hemaserve.smear_count import SmearEnd
from services.gateway.application import open_application
from services.gateway.metrics import GatewayMetrics, image_size
from services.gateway.settings import GatewaySettings
from services.runtime.process import _process_registry
from services.runtime.server import running
from services.runtime.signal_kinds import Needs, Owner

from ....exposition import check, page


async def test_with_tls_and_an_access_file_it_shows_their_signals_too(tmp_path):
    tls = tmp_path / "tls"
    make_certificates(tls, clients=(), days=1)
    access = tmp_path / "access.json"
    access.write_text(json.dumps({"format": FORMAT, "clients": {}}))
    settings = GatewaySettings(
        listen="127.0.0.1:0",
        metrics_listen="127.0.0.1:0",
        tls_certificate=tls / "gateway.crt",
        tls_key=tls / "gateway.key",
        access=access,
    )
    registry = _process_registry()
    async with running(
        await open_application(settings), settings, name="gateway", registry=registry
    ) as server:
        check(page(server.metrics_address), Owner.GATEWAY, Needs.TLS, Needs.ACCESS)


@pytest.mark.parametrize(
    ("width", "height", "size"),
    [
        *[(1, 1, "small"), (999, 1000, "small"), (1000, 1000, "medium"), (2592, 1728, "medium")],
        *[(2500, 1999, "medium"), (2500, 2000, "large"), (9000, 7000, "large")],
    ],
)
def test_a_fields_size_is_told_in_one_of_three_words(width, height, size):
    assert image_size(width, height) == size


def test_a_smear_counts_by_its_end_and_each_reason_to_review_it():
    registry = CollectorRegistry()
    metrics = GatewayMetrics(registry)
    reasons = (ReviewReason.DEGRADED, ReviewReason.FAILED_FIELDS)
    metrics.smear_done(SmearEnd.TOO_FEW, reasons, Priority.STAT, 0.7)
    metrics.smear_done(SmearEnd.ALL_COUNTED, (), Priority.STAT, None)

    def value(name, **labels):
        return registry.get_sample_value(name, labels)

    assert value("hemaserve_smears_total", end="too_few") == 1
    assert value("hemaserve_smears_total", end="target_reached") == 0
    assert value("hemaserve_smear_reviews_total", reason="degraded") == 1
    assert value("hemaserve_smear_freshness_seconds_count", priority="stat") == 1
    assert value("hemaserve_smear_freshness_seconds_sum", priority="stat") == pytest.approx(0.7)
