"""What a rollout file says, and whom it gives a smear to."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.rollout import MAX_MODELS, Assignment, Rollout, Rollouts, UnusableRolloutFile, read

SMEARS = st.text(min_size=1, max_size=20)
SHARES = st.floats(0, 1)


def rollouts(**rollout) -> Rollouts:
    return Rollouts({"xception": Rollout(candidate="xception-2", **rollout)})


@pytest.fixture
def written(tmp_path):
    def write(**models) -> Rollouts:
        path = tmp_path / "rollout.json"
        path.write_text(json.dumps({"format": "hemaserve.rollout.v1", "models": models}))
        return read(path)

    return write


def test_the_file_says_which_versions_there_are(written):
    found = written(xception={"candidate": "xception-2", "share": 0.25, "shadow_share": 1})
    assert found.models["xception"] == Rollout(candidate="xception-2", share=0.25, shadow_share=1.0)
    assert found.versions("xception") == ("xception", "xception-2")
    assert written(xception={"stable": "xception-2"}).versions("xception") == ("xception-2",)
    assert written().versions("vit") == ("vit",)


@pytest.mark.parametrize(
    ("models", "message"),
    [
        ({"xception": {"candidate": "xception-2", "share": 1.5}}, r"models\.xception\.share: .*less than"),
        ({"xception": {"candidate": "xception-2", "share": "0.5"}}, r"models\.xception\.share: .*number"),
        ({"xception": {"candidate": "xception-2", "shares": 0.5}}, r"models\.xception\.shares: Extra"),
        ({"xception": {"share": 0.5}}, r"models\.xception: candidate is missing"),
        ({"xception": {"candidate": "xception"}}, r"models\.xception\.candidate is the stable version"),
        ({"xception": {"stable": "x2", "candidate": "x2"}}, r"candidate is the stable version"),
        ({"xception": {"stable": "../other"}}, r"models\.xception\.stable: .*pattern"),
        ({f"model-{number}": {} for number in range(MAX_MODELS + 1)}, r"models: .*at most 16"),
    ],
)
def test_what_is_wrong_with_the_file_is_told_by_its_member(written, models, message):
    with pytest.raises(UnusableRolloutFile, match=message):
        written(**models)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"models": {}}', '{"format": "hemaserve.rollout.v2"}'])
def test_what_is_no_rollout_file_is_refused(tmp_path, content):
    path = tmp_path / "rollout.json"
    path.write_text(content)
    with pytest.raises(UnusableRolloutFile):
        read(path)


@given(SMEARS, SHARES)
def test_a_smear_is_always_given_to_the_same_version(smear, share):
    assert rollouts(share=share).assigned("xception", smear) == rollouts(share=share).assigned(
        "xception", smear
    )


@given(SMEARS, SHARES, SHARES)
def test_no_smear_goes_back_when_the_share_grows(smear, one, other):
    less, more = sorted((one, other))
    if rollouts(share=less).assigned("xception", smear) == Assignment("xception-2"):
        assert rollouts(share=more).assigned("xception", smear) == Assignment("xception-2")


@given(SMEARS, SHARES)
def test_all_and_none_are_exact(smear, shadow):
    none, every = rollouts(share=0.0, shadow_share=shadow), rollouts(share=1.0, shadow_share=shadow)
    assert none.assigned("xception", smear).model == "xception"
    assert every.assigned("xception", smear) == Assignment("xception-2")
    assert rollouts(shadow_share=1.0).assigned("xception", smear) == Assignment("xception", "xception-2")
    assert rollouts().assigned("xception", smear) == Assignment("xception")


@pytest.mark.parametrize("share", [0.01, 0.3, 0.9])
def test_the_share_of_many_smears_is_the_share(share):
    smears = [f"smear-{number}" for number in range(4000)]
    given_away = sum(
        rollouts(share=share).assigned("xception", smear).model != "xception" for smear in smears
    )
    # Five standard deviations of a binomial count.
    assert given_away == pytest.approx(4000 * share, abs=5 * math.sqrt(4000 * share * (1 - share)))


def test_another_candidate_gets_other_smears():
    smears = [f"smear-{number}" for number in range(400)]

    def of(candidate: str) -> set[str]:
        file = Rollouts({"xception": Rollout(candidate=candidate, share=0.5)})
        return {smear for smear in smears if file.assigned("xception", smear).model == candidate}

    # A quarter of them by chance, and half of them if they were the same ones.
    assert 60 < len(of("xception-2") & of("xception-3")) < 140


def test_what_belongs_to_no_smear_stays_with_the_stable_version_and_may_be_shadowed():
    file = rollouts(share=1.0, shadow_share=1.0)
    assert file.assigned("xception", "") == Assignment("xception", "xception-2")
    half = [rollouts(shadow_share=0.5).assigned("xception", "").shadow for _ in range(400)]
    assert 100 < half.count("xception-2") < 300


def test_who_asks_for_a_version_by_its_name_gets_it():
    assert rollouts(share=1.0).assigned("xception-2", "smear") == Assignment("xception-2")
