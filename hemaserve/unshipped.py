"""Networks of the factory whose weights are not in the model repository: why not, and how to make them."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class UnshippedNetwork:
    """A network that can be made, and is not delivered.

    Attributes:
        name: what the factory calls it, and the repository once it is made.
        title: what people call it.
        reason: why it is not delivered; follows "because".
    """

    name: str
    title: str
    reason: str

    @property
    def command(self) -> str:
        """What trains, calibrates and exports it into the model repository."""
        return f"python -m training run {self.name}"

    def __str__(self) -> str:
        return (
            f"network {self.name!r} ({self.title}) is not shipped, because {self.reason}; "
            f"make it with: {self.command} (in a checkout; see training/README.md)"
        )


UNSHIPPED: Final = {
    network.name: network
    for network in (
        UnshippedNetwork(
            "yolov5x6",
            "YOLOv5x6",
            "its 156 million parameters take 311 MB in FP16, more than the repository can carry",
        ),
    )
}
"""Unshipped networks by name."""
