"""What the folder of `hemaserve certificates` has: each name has NAME.crt and NAME.key."""

from typing import Final

SERVICES_CA: Final = "ca"
"""The authority of the services: callers verify them by it, and those behind the gateway verify their callers."""

CLIENTS_CA: Final = "clients-ca"
"""The authority of the clients: the gateway verifies its callers by it."""

SERVICES: Final = ("gateway", "detector", "classifier")

STACK: Final = "stack"
"""The client as which `hemaserve up` asks the gateway for its health."""
