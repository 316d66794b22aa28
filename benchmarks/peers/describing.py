"""Reads the default profile's pipeline from the model repository, with the code by which our services understand it."""

from pathlib import Path
from typing import Final

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from benchmarks.peers.description import Description, DetectorDescription, EnsembleDescription
from services.classifier.models import parse_model
from services.detector.models import DetectionModel
from services.detector.settings import DetectorSettings
from services.stack.profiles import PROFILES, ProfileName
from services.triton.descriptions import ModelDescription, described

VERSION: Final = "1"


def describe(repository: Path, profile: ProfileName = ProfileName.DEFAULT) -> Description:
    """The pipeline of a profile.

    Raises:
        OSError: a configuration cannot be read.
        ValueError, UnusableModelError: one is none that our services could use.
    """
    makeup = PROFILES[profile]
    detector = DetectionModel.from_description(_model(repository, makeup.detector, makeup.triton_config))
    ensemble = parse_model(_model(repository, makeup.classifier, makeup.triton_config))
    members = [parse_model(_model(repository, name, makeup.triton_config)) for name in ensemble.members]
    if not members:
        raise ValueError(f"profile {profile.value} has no ensemble")
    return Description(
        DetectorDescription(
            file=_file(repository, detector.name),
            input_px=detector.input_px,
            max_batch_size=detector.max_batch_size,
            kinds=detector.kinds,
            score_thresholds=dict(detector.score_thresholds),
            nms_iou=detector.nms_iou,
            tiling=DetectorSettings().tiling,
        ),
        EnsembleDescription(
            members=ensemble.members,
            files=tuple(_file(repository, name) for name in ensemble.members),
            max_batch_size=min(member.max_batch_size for member in members),
            leaf_types=ensemble.leaf_types,
            crop_size_px=ensemble.crop_size_px,
            crop_margin=ensemble.crop_margin,
            vote_temperature=ensemble.votes[ensemble.members].temperature,
            thresholds=ensemble.thresholds,
        ),
        {detector.name: detector.sha256, **{member.name: member.sha256 for member in members}},
    )


def _model(repository: Path, name: str, config: str) -> ModelDescription:
    path = repository / name / "configs" / f"{config}.pbtxt"
    parsed = text_format.Parse(path.read_text(encoding="utf-8"), model_config_pb2.ModelConfig())
    return described(parsed, [VERSION])


def _file(repository: Path, name: str) -> str:
    return str((repository / name / VERSION / "model.onnx").absolute())
