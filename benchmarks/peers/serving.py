"""What every peer's server starts with: the pipeline that its settings describe, ready and warm."""

from pathlib import Path

import numpy as np

from benchmarks.peers.description import Description
from benchmarks.peers.openvino_networks import OpenVinoNetworks
from benchmarks.peers.pipeline import Networks, Pipeline
from benchmarks.peers.settings import Settings


def open_pipeline(settings: Settings) -> Pipeline:
    """The pipeline on OpenVINO, for one caller at a time."""
    description = Description.read(Path(settings.pipeline))
    return warm(description, OpenVinoNetworks(description, threads=settings.threads))


def warm(description: Description, networks: Networks) -> Pipeline:
    """The pipeline on some networks, which have seen their first images."""
    detector, ensemble = description.detector, description.ensemble
    networks.detect(np.zeros((1, detector.input_px, detector.input_px, 3), np.uint8))
    networks.classify(np.zeros((1, ensemble.crop_size_px, ensemble.crop_size_px, 3), np.uint8))
    return Pipeline(description, networks)
