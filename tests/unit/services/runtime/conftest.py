"""Certificates for tests of TLS, by the command's own authorities."""

import pytest

from hemaserve.certificates import make_certificates


@pytest.fixture
def tls_dir(tmp_path):
    """A folder as `hemaserve certificates` makes it, with the clients `client` and `other`."""
    folder = tmp_path / "tls"
    make_certificates(folder, clients=("client", "other"), days=1)
    return folder
