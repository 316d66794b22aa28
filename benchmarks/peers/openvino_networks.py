"""The networks on OpenVINO: the same files, precision and runtime as in our Triton."""

from collections.abc import Mapping
from pathlib import Path
from threading import local
from typing import Any

from benchmarks.peers.description import Description
from benchmarks.peers.pipeline import Opinion
from hemaserve.geometry import FloatArray
from hemaserve.imaging import RgbImage
from services.triton.backends.onnxruntime.onnx_network import Network, Options, load


class OpenVinoNetworks:
    """Networks with so many threads, for one caller at a time, run by the code that runs them in our Triton."""

    def __init__(self, description: Description, *, threads: int) -> None:
        options = Options(threads=threads)
        self._detector = _loaded(description.detector.file, options)
        self._members = [_loaded(file, options) for file in description.ensemble.files]

    def detect(self, squares: RgbImage) -> FloatArray:
        """See `pipeline.Networks`."""
        predictions: FloatArray = self._detector.run({"images": squares})["predictions"]
        return predictions

    def classify(self, crops: RgbImage) -> list[Opinion]:
        """See `pipeline.Networks`."""
        return [_opinion(member.run({"crops": crops})) for member in self._members]


class ThroughputNetworks:
    """Networks for as many callers as OpenVINO has streams, told to go for throughput as its documentation advises.

    https://docs.openvino.ai/2026/openvino-workflow/running-inference/optimize-inference/high-level-performance-hints.html
    """

    def __init__(self, description: Description) -> None:
        import openvino  # noqa: PLC0415 - takes its time

        core = openvino.Core()
        capable = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        hints = {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_PRECISION_HINT": "bf16" if capable else "f32"}
        files = (description.detector.file, *description.ensemble.files)
        self._compiled = [core.compile_model(file, "CPU", hints) for file in files]
        self._of_thread = local()

    @property
    def streams(self) -> int:
        """Callers that keep it busy."""
        return max(int(model.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")) for model in self._compiled)

    def detect(self, squares: RgbImage) -> FloatArray:
        """See `pipeline.Networks`."""
        predictions: FloatArray = self._run(0, {"images": squares})["predictions"]
        return predictions

    def classify(self, crops: RgbImage) -> list[Opinion]:
        """See `pipeline.Networks`."""
        return [_opinion(self._run(index, {"crops": crops})) for index in range(1, len(self._compiled))]

    def _run(self, index: int, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        if not hasattr(self._of_thread, "requests"):
            self._of_thread.requests = [model.create_infer_request() for model in self._compiled]
        found = self._of_thread.requests[index].infer(dict(inputs), share_inputs=True)
        return {port.get_any_name(): array for port, array in found.items()}


def _loaded(file: str, options: Options) -> Network:
    return load(Path(file), options)[0]


def _opinion(found: Mapping[str, Any]) -> Opinion:
    return Opinion(found["probabilities"], found["ood_score"])
