"""Where an answer came from, when several services and several fields had a part in it."""

from collections.abc import Iterable
from functools import cache
from importlib.metadata import version

from hemaserve.v1 import cells_pb2


def merge_provenances(parts: Iterable[cells_pb2.Provenance]) -> cells_pb2.Provenance:
    """One provenance out of those of the parts of an answer, in order.

    Of each thing the first part that knows it tells it; the members of ensembles are all that took part anywhere. The
    software version is the gateway's own.
    """
    merged = cells_pb2.Provenance(software_version=_software_version())
    members: dict[tuple[str, str, str], cells_pb2.ModelProvenance] = {}
    for part in parts:
        if part.HasField("detector") and not merged.HasField("detector"):
            merged.detector.CopyFrom(part.detector)
            merged.score_thresholds.extend(part.score_thresholds)
        if part.HasField("classifier") and not merged.HasField("classifier"):
            merged.classifier.CopyFrom(part.classifier)
            merged.identify_threshold = part.identify_threshold
        merged.preprocessing_version = merged.preprocessing_version or part.preprocessing_version
        members |= {(member.name, member.version, member.sha256): member for member in part.members}
    merged.members.extend(members[key] for key in sorted(members))
    return merged


@cache
def _software_version() -> str:
    return version("hemaserve")
