"""Who may call a secured gateway: clients, keys, roles and quotas, as one file holds them.

Here because two sides need it: the `hemaserve keys` command writes the file, and the gateway reads it.
"""

from hemaserve.access.clients import Access, ApiKey, Client, Issuer, Quota, Role
from hemaserve.access.file import UnusableAccessFile, from_text, to_text

__all__ = [
    "Access",
    "ApiKey",
    "Client",
    "Issuer",
    "Quota",
    "Role",
    "UnusableAccessFile",
    "from_text",
    "to_text",
]
