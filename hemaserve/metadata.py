"""Keys of gRPC metadata that are ours."""

from typing import Final

PRIORITY_KEY: Final = "x-hemaserve-priority"
"""The order of service: stat, routine or batch. A caller of the gateway says it here too, besides in its message: then
a call that would be refused is refused before its image is sent."""
