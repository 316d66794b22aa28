"""Where an answer came from, when several services and several fields had a part in it."""

from collections.abc import Iterable
from functools import cache
from importlib.metadata import version

from hemaserve.v1 import cells_pb2


def merge_provenances(parts: Iterable[cells_pb2.Provenance]) -> cells_pb2.Provenance:
    """One provenance out of those of the parts of an answer, in order.

    Of each thing the first part that knows it tells it; the members of ensembles and the networks of the screen are all
    that took part anywhere. A site profile is told only where it corrected whatever was classified. The software
    version is the gateway's own.
    """
    parts = list(parts)
    merged = cells_pb2.Provenance(software_version=_software_version())
    members: dict[tuple[str, str, str], cells_pb2.ModelProvenance] = {}
    screens: dict[tuple[str, str, str], cells_pb2.ModelProvenance] = {}
    for part in parts:
        if part.HasField("detector") and not merged.HasField("detector"):
            merged.detector.CopyFrom(part.detector)
            merged.score_thresholds.extend(part.score_thresholds)
        if part.HasField("classifier") and not merged.HasField("classifier"):
            merged.classifier.CopyFrom(part.classifier)
            merged.identify_threshold = part.identify_threshold
            for limit in ("ood_limit", "disagreement_limit"):
                if part.HasField(limit):
                    setattr(merged, limit, getattr(part, limit))
        merged.preprocessing_version = merged.preprocessing_version or part.preprocessing_version
        members |= _by_key(part.members)
        screens |= _by_key(part.screens)
    profiles = {
        (part.site_profile.name, part.site_profile.sha256) for part in parts if part.HasField("classifier")
    }
    if len(profiles) == 1 and ("", "") not in profiles:
        ((merged.site_profile.name, merged.site_profile.sha256),) = profiles
    merged.members.extend(members[key] for key in sorted(members))
    merged.screens.extend(screens[key] for key in sorted(screens))
    return merged


def _by_key(
    models: Iterable[cells_pb2.ModelProvenance],
) -> dict[tuple[str, str, str], cells_pb2.ModelProvenance]:
    return {(model.name, model.version, model.sha256): model for model in models}


@cache
def _software_version() -> str:
    return version("hemaserve")
