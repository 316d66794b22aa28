"""Specifications say what they have to, or which field does not."""

import pytest
import yaml

from observability.specification import Errors, InvalidSpecification, Latency, Service, Share, load

SLO = {
    "name": "latency",
    "alert": "TestSlow",
    "promise": "95% of small fields are answered within half a second.",
    "why": "Measured.",
    "summary": "Slow.",
    "objective": 0.95,
    "indicator": {
        "kind": "latency",
        "signal": "hemaserve_field_duration_seconds",
        "labels": {"image_size": "small"},
        "within_s": 0.5,
    },
}


@pytest.fixture
def read(tmp_path):
    def read(slo):
        path = tmp_path / "test.yaml"
        path.write_text(yaml.safe_dump({"service": "test", "slos": [slo]}))
        return load(path, Service)

    return read


def _with(**indicator):
    return SLO | {"indicator": SLO["indicator"] | indicator}


def test_a_promise_is_read(read):
    slo = read(SLO).slos[0]
    assert slo.budget == 0.05
    assert isinstance(slo.indicator, Latency)


@pytest.mark.parametrize(
    ("slo", "says"),
    [
        (
            _with(within_s=0.45),
            r"within_s: 0\.45; allowed: a bound of hemaserve_field_duration_seconds, 0\.1, ",
        ),
        (_with(signal="hemaserve_nonsense"), "signal: 'hemaserve_nonsense'; allowed: one that"),
        (_with(labels={"colour": "red"}), "labels: colour; allowed: image_size"),
        (_with(signal="hemaserve_smears_total", labels={}), "signal: a counter; allowed: a histogram"),
        (SLO | {"objective": 0.9}, r"objective: 0\.9, with which the fastest alert waits for 144%"),
        (SLO | {"objective": 1.0}, "objective"),
        (SLO | {"name": "No Slug"}, "name"),
        (SLO | {"promise": ""}, "promise"),
        (SLO | {"surprise": 1}, "surprise"),
        (
            SLO
            | {
                "indicator": {
                    "kind": "errors",
                    "signal": "hemaserve_smears_total",
                    "bad": {"colour": ["red"]},
                }
            },
            "bad: 'colour'; allowed: a label of hemaserve_smears_total",
        ),
        (
            SLO | {"indicator": {"kind": "errors", "signal": "hemaserve_smears_total", "bad": {}}},
            "bad: 0 labels; allowed: one",
        ),
    ],
)
def test_what_is_wrong_is_named_with_what_is_allowed(read, slo, says):
    with pytest.raises(InvalidSpecification, match=says) as told:
        read(slo)
    assert str(told.value).startswith("test.yaml: slos.0")


def test_two_promises_of_one_name_are_refused(tmp_path):
    path = tmp_path / "test.yaml"
    path.write_text(yaml.safe_dump({"service": "test", "slos": [SLO, SLO]}))
    with pytest.raises(InvalidSpecification, match="allowed: names that differ"):
        load(path, Service)


def test_what_is_no_yaml_is_refused(tmp_path):
    path = tmp_path / "test.yaml"
    path.write_text("a: [")
    with pytest.raises(InvalidSpecification, match="is no YAML"):
        load(path, Service)


def test_what_was_never_bad_is_no_error_rather_than_unknown():
    indicator = Errors(kind="errors", signal="hemaserve_smear_fields_total", bad={"outcome": ("failed",)})
    total = "sum(rate(hemaserve_smear_fields_total[5m]))"
    assert indicator.error_ratio("5m") == (
        f'sum(rate(hemaserve_smear_fields_total{{outcome=~"failed"}}[5m])) / {total} or 0 * {total}'
    )


def test_a_share_is_of_all_that_the_other_counter_counts():
    indicator = Share(
        kind="share",
        signal="hemaserve_answers_degraded_total",
        of={"signal": "hemaserve_cells_classified_total", "labels": {"model": "ensemble"}},
    )
    assert indicator.events("1h") == 'sum(increase(hemaserve_cells_classified_total{model="ensemble"}[1h]))'
