"""HemaServe's Python client: `Client` (async) and `SyncClient`.

    from pathlib import Path
    from hemaserve.client import SyncClient

    with SyncClient("127.0.0.1:50051") as client:
        result = client.analyze_field(Path("field.png"))
        for cell in result.cells:
            print(cell.box, cell.classification)

Results are the dataclasses of `hemaserve.results`; what goes wrong is a `HemaServeError`. Every answer is preliminary.
"""

from hemaserve.client.aio import DEFAULT_ADDRESS, Client
from hemaserve.client.backoff import Backoff
from hemaserve.client.errors import (
    DeadlineExceededError,
    FailedPreconditionError,
    HemaServeError,
    InternalError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
    ResourceExhaustedError,
    UnauthenticatedError,
    UnavailableError,
)
from hemaserve.client.quota import QuotaLeft
from hemaserve.client.requests import Acquisition, Field, ImageSource, LocatedCell
from hemaserve.client.sync import SyncClient
from hemaserve.client.tls import tls_credentials

__all__ = [
    "DEFAULT_ADDRESS",
    "Acquisition",
    "Backoff",
    "Client",
    "DeadlineExceededError",
    "FailedPreconditionError",
    "Field",
    "HemaServeError",
    "ImageSource",
    "InternalError",
    "InvalidArgumentError",
    "LocatedCell",
    "NotFoundError",
    "PermissionDeniedError",
    "QuotaLeft",
    "ResourceExhaustedError",
    "SyncClient",
    "UnauthenticatedError",
    "UnavailableError",
    "tls_credentials",
]
