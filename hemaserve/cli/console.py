"""The two terminals: results go to `out` (standard output), everything else to `err`."""

from typing import Final

from rich.console import Console

out: Final = Console()
err: Final = Console(stderr=True)
