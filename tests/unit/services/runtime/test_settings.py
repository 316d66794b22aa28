"""Which settings of TLS go together, and who may be reached without it."""

import sys

import pytest
from pydantic import ValidationError

from services.classifier.settings import ClassifierSettings
from services.detector.settings import DetectorSettings
from services.gateway.settings import GatewaySettings
from services.runtime.addresses import is_loopback
from services.runtime.process import read_settings

OWN = {"tls_certificate": "x.crt", "tls_key": "x.key"}
everyone = pytest.mark.parametrize("settings", [GatewaySettings, DetectorSettings, ClassifierSettings])
behind = pytest.mark.parametrize("settings", [DetectorSettings, ClassifierSettings])


@pytest.mark.parametrize(
    ("address", "loopback"),
    [
        ("127.0.0.1:50051", True),
        ("127.8.9.1:0", True),
        ("localhost:50051", True),
        ("[::1]:50051", True),
        ("0.0.0.0:50051", False),
        ("[::]:50051", False),
        ("10.0.0.7:50051", False),
        ("localhost.example:50051", False),
        ("hemaserve:50051", False),
        ("ipv4:127.0.0.1:50051", False),
    ],
)
def test_only_the_loopback_counts_as_one(address, loopback):
    assert is_loopback(address) is loopback


@everyone
def test_beyond_the_loopback_it_takes_tls_or_an_explicit_word(settings):
    with pytest.raises(ValidationError, match=r"listen is 0\.0\.0\.0:1, which other machines can reach"):
        settings(listen="0.0.0.0:1")
    assert settings(listen="0.0.0.0:1", allow_insecure=True).tls is None
    assert settings(listen="0.0.0.0:1", **OWN, tls_client_ca="ca.crt").tls is not None


@everyone
@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"tls_certificate": "x.crt"}, "tls_key is missing"),
        ({"tls_key": "x.key"}, "tls_certificate is missing"),
        ({"tls_client_ca": "ca.crt"}, "tls_client_ca is given without tls_certificate and tls_key"),
    ],
)
def test_half_of_tls_is_refused_and_the_other_half_named(settings, given, said):
    with pytest.raises(ValidationError, match=said):
        settings(**given)


@behind
def test_triton_is_shown_a_certificate_where_it_is_called_with_tls(settings):
    with pytest.raises(ValidationError, match="triton_tls_ca is given without tls_certificate and tls_key"):
        settings(triton_tls_ca="ca.crt")
    files = settings(**OWN, tls_client_ca="ca.crt", triton_tls_ca="triton-ca.crt").triton_tls
    assert [str(path) for path in (files.certificate, files.key, files.ca)] == [
        "x.crt",
        "x.key",
        "triton-ca.crt",
    ]


@behind
def test_services_behind_the_gateway_have_tls_both_ways_or_not_at_all(settings):
    with pytest.raises(ValidationError, match="tls_client_ca is missing"):
        settings(**OWN)


def test_the_gateway_may_leave_it_to_others_to_say_who_calls():
    assert GatewaySettings(**OWN).tls.ca is None


def test_the_gateway_calls_with_its_own_certificate_or_without_tls():
    settings = GatewaySettings(**OWN, tls_ca="ca.crt")
    assert settings.downstream_tls.certificate == settings.tls.certificate
    assert GatewaySettings(**OWN).downstream_tls is None
    with pytest.raises(ValidationError, match="tls_ca is given without tls_certificate"):
        GatewaySettings(tls_ca="ca.crt")


@everyone
@pytest.mark.parametrize(
    ("told", "reflects"),
    [
        ({}, True),
        ({"reflection": False}, False),
        ({**OWN, "tls_client_ca": "ca.crt"}, False),
        ({**OWN, "tls_client_ca": "ca.crt", "reflection": True}, True),
        ({"listen": "0.0.0.0:1", "allow_insecure": True}, False),
    ],
)
def test_reflection_is_on_where_only_this_machine_can_ask(settings, told, reflects):
    assert settings(**told).reflects is reflects


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("--listen", "0.0.0.0:1"),
            "error: listen is 0.0.0.0:1, which other machines can reach, without TLS",
        ),
        (("--workers", "900"), "error: workers: Input should be less than or equal to 64"),
    ],
)
def test_wrong_settings_end_the_process_with_a_line_and_no_traceback(monkeypatch, capsys, words, said):
    monkeypatch.setattr(sys, "argv", ["detector", *words])
    with pytest.raises(SystemExit) as ended:
        read_settings(DetectorSettings)
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith(said)
