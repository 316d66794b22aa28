"""Where TLS has its files: light, for those who only pass it on."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Where one side of TLS has its files, in PEM.

    Attributes:
        certificate: its own certificate, with what it is chained by; None where it shows none.
        key: the certificate's key, not encrypted.
        ca: authorities that the other side's certificate is verified by.
    """

    certificate: Path | None
    key: Path | None
    ca: Path | None
