"""A laboratory with another stain: adapt on its fields, then use the profile by name, with nothing restarted."""

import hashlib
import json

import pytest

from hemaserve import synthetic
from hemaserve.cli.exits import ExitCode
from hemaserve.client import Acquisition, Client, Field
from hemaserve.results import SiteProfileSource
from hemaserve.site_profile import from_json

pytestmark = pytest.mark.e2e

FIELDS = 8


@pytest.fixture(scope="module")
def images():
    return [
        synthetic.encode_png(synthetic.generate_field(seed, stain="wright-giemsa", white_cells=4).image)
        for seed in range(FIELDS)
    ]


@pytest.fixture(scope="module")
def folder(images, tmp_path_factory):
    folder = tmp_path_factory.mktemp("laboratory")
    for number, image in enumerate(images):
        (folder / f"field-{number}.png").write_bytes(image)
    return folder


@pytest.fixture
def profile(hemaserve, stack, folder):
    """The file of the profile `wright-giemsa`, learned from the folder."""
    path = stack.profiles / "wright-giemsa.json"
    if not path.exists():
        done = hemaserve("adapt", folder, "--name", path.stem, "--profiles", stack.profiles)
        assert done.returncode == ExitCode.OK, done.stderr
        # The stack that runs has seen the new file already.
        assert "hemaserve up" not in done.stdout
    return path


def probabilities(document):
    return [
        cell["classification"]["leaf_probabilities"]
        for field in document["fields"]
        for cell in field["cells"]
    ]


def test_the_profile_is_learned_from_the_cells_that_the_detector_finds(profile):
    learned = from_json(profile.read_bytes())
    assert learned.fields == FIELDS
    assert 0.8 * 4 * FIELDS <= learned.white_cells <= 1.2 * 4 * FIELDS
    assert profile.with_suffix(".png").exists()


def test_it_is_listed(hemaserve, profile):
    (listed,) = json.loads(hemaserve("profiles", "--json").stdout)
    assert (listed["name"], listed["fields"]) == ("wright-giemsa", FIELDS)
    assert listed["sha256"] == hashlib.sha256(profile.read_bytes()).hexdigest()


def test_a_request_that_names_it_is_answered_differently_and_says_so(hemaserve, folder, profile):
    documents = []
    for words in ((), ("--site-profile", "wright-giemsa")):
        done = hemaserve("analyze", folder, *words, "--json", "-")
        assert done.returncode == ExitCode.OK, done.stderr
        documents.append(json.loads(done.stdout))
    plain, corrected = documents
    digest = hashlib.sha256(profile.read_bytes()).hexdigest()
    assert plain["provenance"]["site_profile"] is None
    assert corrected["provenance"]["site_profile"] == {"name": "wright-giemsa", "sha256": digest}
    before, after = probabilities(plain), probabilities(corrected)
    assert len(before) == len(after) > FIELDS  # the detector is shown the same pixels
    assert before != after


async def test_fields_of_one_smear_have_their_own_profiles(stack, profile, images):
    named = Acquisition(site_profile="wright-giemsa")
    fields = [Field(image, acquisition=named if number % 2 else None) for number, image in enumerate(images)]
    async with Client(stack.address) as client:
        result = await client.analyze_smear(fields)
    digest = hashlib.sha256(profile.read_bytes()).hexdigest()
    source = SiteProfileSource("wright-giemsa", digest)
    assert [field.provenance.site_profile for field in result.fields] == [None, source] * (FIELDS // 2)
    assert result.provenance.site_profile is None


def test_an_unknown_profile_is_a_wrong_argument(hemaserve, folder, profile):
    done = hemaserve("analyze", folder, "--site-profile", "elsewhere")
    assert done.returncode == ExitCode.USAGE
    assert "wright-giemsa" in done.stderr
