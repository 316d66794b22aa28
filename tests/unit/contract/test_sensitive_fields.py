"""Every text and every bytes of the contract is marked as sensitive, or said here to tell nobody whose blood it is."""

from pathlib import Path

import pytest
from google.protobuf.descriptor import FieldDescriptor

from services.runtime.redaction import CONTRACT, is_marked

ROOT = Path(__file__).parents[3]

OPEN = {
    # Names of what the laboratory's server has: errors have to name them, with what else there is.
    "AnalyzeOptions.detector_model": "a network's name",
    "AnalyzeOptions.model": "a network's name",
    "Acquisition.site_profile": "a site profile's name",
    "ClassifyCellsRequest.model": "a network's name",
    "ClassifyCellsRequest.site_profile": "a site profile's name",
    "ClassifyRequest.model": "a network's name",
    "ClassifyRequest.shadow_model": "a network's name",
    "ClassifyRequest.site_profile": "a site profile's name",
    "DetectCellsRequest.detector_model": "a network's name",
    "DetectRequest.model": "a network's name",
    "ExplainCellRequest.model": "a network's name",
    "FieldTally.classifier": "a network's name",
    "Rollout.candidate": "a network's name",
    "Rollout.missing": "networks' names",
    "Rollout.stable": "a network's name",
    "ExplainCellRequest.site_profile": "a site profile's name",
    "ExplainRequest.model": "a network's name",
    "ExplainRequest.site_profile": "a site profile's name",
    # What the server says of itself.
    "MemberOpinion.model": "a network's name",
    "Model.licence": "a network's licence",
    "Model.members": "networks' names",
    "Model.name": "a network's name",
    "Model.screen_classes": "a network's classes",
    "Model.screen_flag_classes": "a network's classes",
    "Model.title": "a network's title",
    "ModelProvenance.name": "a network's name",
    "ModelProvenance.sha256": "a network's digest",
    "ModelProvenance.version": "a network's version",
    "Provenance.preprocessing_version": "the software's",
    "Provenance.software_version": "the software's",
    "ScreenProbability.class": "a network's class",
    "SiteProfile.name": "a site profile's name",
    "SiteProfile.sha256": "a site profile's digest",
    "SiteProfileProvenance.name": "a site profile's name",
    "SiteProfileProvenance.sha256": "a site profile's digest",
    "TypeShare.loinc": "a code of the cell type's",
    # Made here, to be named where nobody may be.
    "Detection.cell_id": "the detector makes it from the box",
    "FieldResult.result_id": "a digest, made to stand for the result; no accession number goes into it",
    "FieldResult.supersedes_result_id": "a result's id",
    "SmearResult.result_id": "a digest, made to stand for the result; no accession number goes into it",
    "SmearResult.supersedes_result_id": "a result's id",
}
"""Fields that anybody who operates a server may see, and why."""

TEXTS = {FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES}


def texts() -> dict[str, FieldDescriptor]:
    found = {}
    for file in CONTRACT:
        messages = list(file.message_types_by_name.values())
        while messages:
            message = messages.pop()
            messages += message.nested_types
            for field in message.fields:
                if field.type in TEXTS:
                    found[field.full_name.removeprefix("hemaserve.v1.")] = field
    return found


def test_every_text_and_bytes_of_the_contract_is_marked_or_said_to_be_open():
    undecided = {name for name, field in texts().items() if not is_marked(field)} - OPEN.keys()

    assert undecided == set(), "mark it [debug_redact = true] in the proto, or say in OPEN why not"


def test_nothing_is_said_to_be_open_that_is_marked_or_gone():
    assert {name for name in OPEN if name not in texts() or is_marked(texts()[name])} == set()


@pytest.mark.parametrize(
    "name",
    ["OpenSmear.specimen", "OpenSmear.smear_id", "Field.field_id", "Field.image", "LocatedCell.cell_id"],
)
def test_what_a_caller_calls_its_patients_cells_is_marked(name: str):
    assert is_marked(texts()[name])


def test_no_file_of_the_contract_is_left_out():
    files = {f"hemaserve/v1/{path.name}" for path in (ROOT / "protos/hemaserve/v1").glob("*.proto")}

    assert {file.name for file in CONTRACT} == files
