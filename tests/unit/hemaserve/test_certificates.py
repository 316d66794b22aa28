"""The certificates that are made: what is in them, who can read them, and what is never overwritten."""

import stat
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import verification
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from hemaserve.certificates import CannotIssue, make_certificates, renew_certificates

SERVICES = ("gateway", "detector", "classifier")


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "tls"
    make_certificates(made, clients=("analyzer-1",), names=("lab.example", "10.1.2.3"), days=30)
    return made


def read(folder, name):
    return x509.load_pem_x509_certificate((folder / f"{name}.crt").read_bytes())


def extension(certificate, kind):
    return certificate.extensions.get_extension_for_class(kind)


def store(folder, ca):
    return verification.Store([read(folder, ca)])


def test_the_services_are_believed_under_all_of_their_names(folder):
    for service in SERVICES:
        for name in (service, "localhost", "lab.example"):
            verifier = (
                verification.PolicyBuilder()
                .store(store(folder, "ca"))
                .build_server_verifier(x509.DNSName(name))
            )
            verifier.verify(read(folder, service), [])
        names = extension(read(folder, service), x509.SubjectAlternativeName).value
        addresses = {str(address) for address in names.get_values_for_type(x509.IPAddress)}
        assert addresses == {"127.0.0.1", "::1", "10.1.2.3"}


def test_a_client_is_known_to_the_gateway_and_not_to_the_services_behind_it(folder):
    client = read(folder, "analyzer-1")
    verifier = verification.PolicyBuilder().store(store(folder, "clients-ca")).build_client_verifier()
    assert verifier.verify(client, []).subjects == [x509.DNSName("analyzer-1")]
    assert client.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == "analyzer-1"
    other = verification.PolicyBuilder().store(store(folder, "ca")).build_client_verifier()
    with pytest.raises(verification.VerificationError):
        other.verify(client, [])


def test_a_client_cannot_pass_for_a_server(folder):
    usages = extension(read(folder, "analyzer-1"), x509.ExtendedKeyUsage).value
    assert list(usages) == [ExtendedKeyUsageOID.CLIENT_AUTH]


def test_extensions_and_keys_are_as_the_standard_asks(folder):
    for path in folder.glob("*.crt"):
        certificate = read(folder, path.stem)
        authority = path.stem in ("ca", "clients-ca")
        constraints = extension(certificate, x509.BasicConstraints)
        usage = extension(certificate, x509.KeyUsage)
        assert constraints.critical
        assert constraints.value.ca is authority
        assert usage.critical
        assert (usage.value.key_cert_sign, usage.value.digital_signature) == (authority, not authority)
        assert isinstance(certificate.public_key().curve, ec.SECP256R1)
        issuer = read(folder, "ca" if path.stem in (*SERVICES, "ca") else "clients-ca")
        own = extension(issuer, x509.SubjectKeyIdentifier).value.digest
        assert extension(certificate, x509.AuthorityKeyIdentifier).value.key_identifier == own
        certificate.verify_directly_issued_by(issuer)


def test_they_are_valid_for_the_days_asked_for(folder):
    left = read(folder, "gateway").not_valid_after_utc - datetime.now(UTC)
    assert timedelta(days=29, hours=23) < left <= timedelta(days=30)
    assert read(folder, "ca").not_valid_after_utc > datetime.now(UTC) + timedelta(days=3000)


def test_only_the_owner_reads_keys(folder):
    keys = list(folder.glob("*.key"))
    assert len(keys) == 7
    assert {stat.S_IMODE(key.stat().st_mode) for key in keys} == {0o600}


def test_nothing_is_overwritten_without_force(folder):
    before = {path: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(CannotIssue, match=r"ca\.key"):
        make_certificates(folder, clients=(), days=1)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before

    make_certificates(folder, clients=("analyzer-1",), days=1, force=True)
    assert all(path.read_bytes() != content for path, content in before.items())


def test_renewing_keeps_authorities_names_and_clients_and_adds_new_ones(folder):
    before = {path.stem: path.read_bytes() for path in folder.glob("*.crt")}
    renewed = {path.stem for path in renew_certificates(folder, clients=("analyzer-2",), days=60)}
    assert renewed == {*SERVICES, "stack", "analyzer-1", "analyzer-2"}
    after = {path.stem: path.read_bytes() for path in folder.glob("*.crt")}
    assert {name for name in before if before[name] == after[name]} == {"ca", "clients-ca"}
    names = extension(read(folder, "gateway"), x509.SubjectAlternativeName).value
    assert "lab.example" in names.get_values_for_type(x509.DNSName)
    assert not list(folder.glob("*.partial"))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda folder: (folder / "ca.key").unlink(), r"there is no ca\.key"),
        (lambda folder: (folder / "clients-ca.crt").write_text("x"), r"clients-ca\.crt or clients-ca\.key"),
    ],
)
def test_renewing_needs_the_authorities(folder, spoil, said):
    spoil(folder)
    with pytest.raises(CannotIssue, match=said):
        renew_certificates(folder, clients=(), days=1)
