"""Findings of checkov: none without a reason, no reason without a finding, no "none" where nothing was checked."""

import json
import stat

import pytest

WHY = "a reason of as many words as it takes to tell somebody who asks"


@pytest.fixture
def check(script):
    script("manifests")
    return script("check_deploy")


def report(*failed: tuple[str, str], errors: int = 0, canary: bool = True) -> dict:
    wanted = [*failed, *((("CKV_K8S_16", "canary"), ("CKV_K8S_17", "canary")) if canary else ())]
    return {
        "summary": {"parsing_errors": errors},
        "results": {
            "failed_checks": [
                {
                    "check_id": id_,
                    "check_name": "It should not.",
                    "resource": "Pod.x",
                    "file_path": f"/tmp/{file}.yaml",
                }
                for id_, file in wanted
            ]
        },
    }


def judged(check, explained, *failed):
    return check.judge(check.findings([report(*failed)], ["one", "canary"]), explained)


def test_what_is_explained_stays(check):
    assert judged(check, {"CKV_1": WHY}, ("CKV_1", "one")) == []


def test_what_is_not_explained_is_told(check):
    assert judged(check, {"CKV_1": WHY}, ("CKV_1", "one"), ("CKV_2", "one")) == [
        "CKV_2 It should not.: Pod.x"
    ]


def test_a_reason_that_nothing_needs_is_told(check):
    assert judged(check, {"CKV_1": WHY}) == ["CKV_1: explained, and found nowhere"]


def test_a_word_is_no_reason(check):
    assert judged(check, {"CKV_1": "wontfix"}, ("CKV_1", "one")) == ["CKV_1: no reason is given"]


@pytest.mark.parametrize(
    "reports", [[report(canary=False)], [report(errors=1)], [{"passed": 0, "failed": 0}], []]
)
def test_what_looked_at_nothing_has_not_checked(check, reports):
    with pytest.raises(check.NotChecked):
        check.findings(reports, ["one", "canary"])


def test_a_program_that_fails_has_not_checked(check, tmp_path):
    program = tmp_path / "checkov"
    program.write_text("#!/bin/sh\necho no such option >&2\nexit 2\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    with pytest.raises(check.NotChecked, match="no such option"):
        check.ask(program, {"canary": [check.CANARY]})


def test_all_that_is_given_is_handed_over(check, tmp_path):
    program = tmp_path / "checkov"
    answer = json.dumps(report(("CKV_9", "one")))
    program.write_text(
        f"#!/bin/sh\nfor word; do case $word in *.yaml) test -s $word || exit 1;; esac; done\necho '{answer}'\n"
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    found = check.ask(program, {"one": [check.CANARY], "canary": [check.CANARY]})
    assert [finding.check for finding in found["one"]] == ["CKV_9"]
