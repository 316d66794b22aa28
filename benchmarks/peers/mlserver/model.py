"""The pipeline as an MLServer runtime."""

import json

from mlserver import MLModel
from mlserver.codecs import Base64Codec, StringCodec
from mlserver.types import InferenceRequest, InferenceResponse

from benchmarks.peers.serving import open_pipeline
from benchmarks.peers.settings import Settings


class Fields(MLModel):
    """Analyses fields."""

    async def load(self) -> bool:
        """In each worker."""
        self._pipeline = open_pipeline(Settings.from_environment())
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Those that came together, in one input along its first dimension."""
        (images,) = payload.inputs
        answers = self._pipeline.analyze(Base64Codec.decode_input(images))
        output = StringCodec.encode_output("answer", [json.dumps(answer.to_dict()) for answer in answers])
        return InferenceResponse(model_name=self.name, outputs=[output])
