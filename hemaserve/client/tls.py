"""Credentials for TLS, from files."""

import ssl
from pathlib import Path

import grpc


def tls_credentials(
    *, ca: Path | None = None, certificate: Path | None = None, key: Path | None = None
) -> grpc.ChannelCredentials:
    """What a client verifies the gateway by, and shows to it; PEM.

    The files are read once: a client that lives longer than its certificate is made anew.

    Args:
        ca: the authorities of the gateway; default: those that gRPC brings.
        certificate: the client's own, with what it is chained by, where the gateway asks for one.
        key: the certificate's key, not encrypted.

    Raises:
        OSError: a file cannot be read.
        ValueError: a file does not hold what it should; the message names it.
    """
    if (certificate is None) != (key is None):
        raise ValueError("a certificate and its key go together")
    read = [None if path is None else path.read_bytes() for path in (ca, certificate, key)]
    # gRPC would only say, at the first call, that it cannot connect.
    checked = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if ca is not None:
        try:
            checked.load_verify_locations(ca)
        except ssl.SSLError:
            raise ValueError(f"{ca} holds no certificate in PEM") from None
    if certificate is not None:
        try:
            checked.load_cert_chain(certificate, key, password=lambda: "")
        except ssl.SSLError as error:
            mismatch = error.reason == "KEY_VALUES_MISMATCH"
            raise ValueError(
                f"the key in {key} is not the one of the certificate in {certificate}"
                if mismatch
                else f"{certificate} and {key} do not hold a certificate and its unencrypted key in PEM"
            ) from None
    return grpc.ssl_channel_credentials(read[0], private_key=read[2], certificate_chain=read[1])
