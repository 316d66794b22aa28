"""Whom the stack is open to: the loopback, or those whom the folder of `hemaserve certificates` knows."""

from dataclasses import dataclass
from pathlib import Path

from hemaserve.tls_folder import CLIENTS_CA, SERVICES, SERVICES_CA, STACK
from services.runtime.addresses import is_loopback
from services.runtime.tls_files import TlsFiles
from services.stack.requirements import CannotRun


@dataclass(frozen=True, slots=True)
class TlsFolder:
    """Who shows which certificate, and verifies the other side by what. `path` is absolute."""

    path: Path

    def server(self, name: str) -> TlsFiles:
        """The files that a service serves with."""
        return self._files(name, CLIENTS_CA if name == "gateway" else SERVICES_CA)

    def caller_of(self, name: str) -> TlsFiles:
        """The files that a service is called with by the stack and, where it is not the gateway, by the gateway."""
        return self._files(STACK if name == "gateway" else "gateway", SERVICES_CA)

    def check(self) -> None:
        """Check that all can be used.

        Raises:
            CannotRun: one cannot; the message says why.
        """
        # Only where TLS is used: cryptography takes its share of the memory.
        from services.runtime.tls import TlsFileError, load  # noqa: PLC0415

        try:
            for name in SERVICES:
                load(self.server(name))
            load(self.caller_of("gateway"))
        except TlsFileError as error:
            raise CannotRun(
                f"{error}\nMake certificates with: hemaserve certificates {self.path}\n"
                f"or renew them with: hemaserve certificates {self.path} --renew"
            ) from None

    def _files(self, name: str, ca: str) -> TlsFiles:
        return TlsFiles(self.path / f"{name}.crt", self.path / f"{name}.key", self.path / f"{ca}.crt")


def check_exposure(address: str, folder: TlsFolder | None, *, allow_insecure: bool) -> None:
    """Check that who is not on this machine calls the gateway with TLS.

    Raises:
        CannotRun: the gateway could be called without; or a file cannot be used.
    """
    if folder is not None:
        folder.check()
    elif not is_loopback(address) and not allow_insecure:
        raise CannotRun(
            f"other machines could call the gateway at {address} without TLS.\n"
            "Make certificates with: hemaserve certificates DIR, and give them with --tls DIR; "
            "or, where something else encrypts, say --allow-insecure"
        )
