"""A python-based Triton backend that serves ONNX files on CPUs.

It carries the name of NVIDIA's native backend, ``onnxruntime``, so that one model repository serves on both: the
native one in NVIDIA's image and this one on the Triton of the ``nvidia-pytriton`` wheel. Model parameters that it
reads: ``runtime`` (openvino | onnxruntime), ``intra_op_thread_count``, ``precision`` (auto | f32 | bf16), and, as the
native one does, ``enable_mem_arena`` (1 | 0). A file that is not the one that the parameter ``sha256`` names is not
loaded. A configuration with an output ``received`` is answered with what each row was (``onnx_receipts``).

Runs inside Triton's Python stub, one process per model instance. Only translates between Triton and its siblings.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import triton_python_backend_utils as pb_utils

if TYPE_CHECKING:
    from services.triton.backends.onnxruntime import (
        onnx_batching,
        onnx_config,
        onnx_network,
        onnx_receipts,
    )
else:  # the stub puts this folder, and not the project, on sys.path
    import onnx_batching
    import onnx_config
    import onnx_network
    import onnx_receipts


class TritonPythonModel:
    """One instance of one model."""

    @staticmethod
    def auto_complete_config(auto_complete_model_config: Any) -> Any:
        """Fills in what a configuration leaves out, from the first version's ONNX file, as the native backend does."""
        config = auto_complete_model_config.as_dict()
        if onnx_config.is_complete(config):
            return auto_complete_model_config  # without loading a runtime: this runs once more per model at start
        path = onnx_config.first_onnx_path(config)
        if path is None:
            return auto_complete_model_config  # Triton then says itself what the configuration lacks
        options = onnx_network.Options.of(onnx_config.parameters(config))
        inputs, outputs = onnx_network.ports(path, options.runtime)
        max_batch_size = onnx_config.completed_batch_size(config, inputs, outputs)
        auto_complete_model_config.set_max_batch_size(max_batch_size)
        for entry in onnx_config.entries(inputs, max_batch_size):
            auto_complete_model_config.add_input(entry)
        for entry in onnx_config.entries(outputs, max_batch_size):
            auto_complete_model_config.add_output(entry)
        return auto_complete_model_config

    def initialize(self, args: dict[str, str]) -> None:
        """Compiles the network that the configuration names, and checks the configuration against it.

        Raises:
            Exception: with the reason, which Triton logs and keeps as the model's state.
        """
        config = json.loads(args["model_config"])
        path = onnx_config.onnx_path(config, args["model_repository"], args["model_version"])
        onnx_config.check_digest(config, path)
        options = onnx_network.Options.of(onnx_config.parameters(config))
        self._network, inputs, outputs = onnx_network.load(path, options)
        onnx_config.check(config, inputs, outputs)
        self._inputs = [port.name for port in inputs]
        self._receipts = any(entry["name"] == onnx_config.RECEIPT_OUTPUT for entry in config["output"])
        self._batched = int(config.get("max_batch_size") or 0) > 0
        if self._batched and options.runtime == "openvino" and (names := onnx_config.open_inputs(config)):
            # Seen with OpenVINO 2026.4: a product with rows of the wrong width reads beyond them and answers.
            pb_utils.Logger.log_warn(
                f"{names}: dims left open are not checked by every layer; fix them where you can"
            )
        pb_utils.Logger.log_info(f"{args['model_instance_name']}: {path.name} on {self._network.summary}")

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answers every request, with its own error where it has one."""
        responses: list[Any] = [None] * len(requests)
        live: list[int] = []
        tensors: list[onnx_batching.Tensors] = []
        for index, request in enumerate(requests):
            if request.is_cancelled():
                responses[index] = _error("cancelled", pb_utils.TritonError.CANCELLED)
                continue
            live.append(index)
            tensors.append(self._tensors(request))
        if self._batched:
            answers = onnx_batching.run_together(self._run, tensors)
        else:
            answers = [onnx_batching.run_alone(self._run, each) for each in tensors]
        for index, answer in zip(live, answers, strict=True):
            responses[index] = _response(requests[index], answer)
        return responses

    def _run(self, tensors: onnx_batching.Tensors) -> onnx_batching.Tensors:
        outputs = self._network.run(tensors)
        if not self._receipts:
            return outputs
        # After the run: what was changed before it or during it is noticed.
        shown = [tensors[name] for name in sorted(self._inputs)]
        return {**outputs, onnx_config.RECEIPT_OUTPUT: onnx_receipts.checksums(shown)}

    def _tensors(self, request: Any) -> dict[str, Any]:
        return {name: pb_utils.get_input_tensor_by_name(request, name).as_numpy() for name in self._inputs}


def _response(request: Any, answer: onnx_batching.Answer) -> Any:
    if isinstance(answer, Exception):
        code = (
            pb_utils.TritonError.INVALID_ARG
            if isinstance(answer, ValueError)
            else pb_utils.TritonError.INTERNAL
        )
        return _error(str(answer), code)
    return pb_utils.InferenceResponse(
        [pb_utils.Tensor(name, answer[name]) for name in request.requested_output_names()]
    )


def _error(message: str, code: Any) -> Any:
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(message, code))
