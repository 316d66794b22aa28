"""Does what cert-manager does with Certificates and Issuers, and mounts what comes of it as pods have it."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from .reading import Deployed, Manifest

MOUNTS = "/etc/hemaserve"
_EXTENDED = {"server auth": ExtendedKeyUsageOID.SERVER_AUTH, "client auth": ExtendedKeyUsageOID.CLIENT_AUTH}
_PEM = serialization.Encoding.PEM


@dataclass
class Issued:
    """A certificate with its key, and who signed it."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    by: x509.Certificate

    def secret(self) -> dict[str, bytes]:
        """The Secret as cert-manager writes it."""
        return {
            "tls.crt": self.certificate.public_bytes(_PEM),
            "tls.key": self.key.private_bytes(
                _PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            ),
            "ca.crt": self.by.public_bytes(_PEM),
        }


def hours(text: str) -> timedelta:
    return timedelta(hours=int(re.fullmatch(r"(\d+)h", text)[1]))


def issue(deployed: Deployed) -> dict[str, Issued]:
    """All certificates, by the names of their Secrets."""
    issued: dict[str, Issued] = {}
    issuers = deployed.of("Issuer")
    certificates = [one["spec"] for one in deployed.of("Certificate").values()]
    # Authorities first: others are signed by them.
    for spec in sorted(certificates, key=lambda spec: not spec.get("isCA", False)):
        issuer = issuers[spec["issuerRef"]["name"]]["spec"]
        signer = None if "selfSigned" in issuer else issued[issuer["ca"]["secretName"]]
        issued[spec["secretName"]] = _sign(spec, signer)
    return issued


def _sign(spec: Manifest, signer: Issued | None) -> Issued:
    assert spec["privateKey"]["algorithm"] == "ECDSA"
    assert spec["privateKey"]["size"] == 256
    key = ec.generate_private_key(ec.SECP256R1())
    names = [x509.NameAttribute(NameOID.COMMON_NAME, spec["commonName"])] if "commonName" in spec else []
    subject, now = x509.Name(names), datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if signer is None else signer.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=1))
        .not_valid_after(now + hours(spec["duration"]))
        .add_extension(x509.BasicConstraints(ca=spec.get("isCA", False), path_length=None), critical=True)
    )
    if extended := [_EXTENDED[usage] for usage in spec["usages"] if usage in _EXTENDED]:
        builder = builder.add_extension(x509.ExtendedKeyUsage(extended), critical=False)
    if "dnsNames" in spec:
        # Critical where there is no subject, as RFC 5280 has it.
        san = x509.SubjectAlternativeName([x509.DNSName(name) for name in spec["dnsNames"]])
        builder = builder.add_extension(san, critical=not names)
    certificate = builder.sign(key if signer is None else signer.key, hashes.SHA256())
    return Issued(certificate, key, certificate if signer is None else signer.certificate)


def mount(deployed: Deployed, workload: str, issued: dict[str, Issued], root: Path) -> Path:
    """Lay out a pod's certificates under `root`, which stands for the root of its file system."""
    volumes = {one["name"]: one for one in deployed.pod(workload)["volumes"]}
    for at in deployed.container(workload)["volumeMounts"]:
        secret = volumes[at["name"]].get("secret")
        if secret is None or secret["secretName"] not in issued:
            continue
        folder = root / at["mountPath"].lstrip("/")
        folder.mkdir(parents=True)
        content = issued[secret["secretName"]].secret()
        for item in secret.get("items", [{"key": key, "path": key} for key in content]):
            (folder / item["path"]).write_bytes(content[item["key"]])
    return root
