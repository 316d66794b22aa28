"""Tests of rules for `promtool test rules`, made of the promises: each alert fires when it should, and not before.

A promise's budget is burnt at a rate just above an alert's, and just below. So an alert that looked at the wrong
series, over the wrong window, or with the wrong factor, fails one of the two.
"""

import itertools
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from observability import burn, drift
from observability.baseline import Baseline
from observability.drift import Watched
from observability.rules import Alert
from observability.specification import Errors, Latency, Selector, Service, Share, Slo
from observability.windows import BURNS, Burn, duration

ABOVE: Final = 1.04
BELOW: Final = 0.96
STEP_S: Final = 60
"""Between samples, of promises."""

_EVENTS: Final = 1000
"""Of a promise in a step: far more than it takes not to be silent."""

Series = dict[str, float]
"""Series by their selectors, and what each rises by in a step."""


@dataclass(frozen=True, slots=True)
class Case:
    """What is there, and which alerts that is to mean.

    Attributes:
        name: what is tested.
        step_s: seconds between samples.
        steps: how many, from 0.
        rising: series that rise evenly.
        alerts: all that fire at the end, with their annotations.
        watched: names of the alerts that are looked for.
        fires: the alert rules that this shows to fire, by `identity`.
        silent: those that this shows to be silent though it is near.
        later: what series rise by after `turn` steps, where that is something else.
    """

    name: str
    step_s: int
    steps: int
    rising: Series
    alerts: Sequence[tuple[Alert, dict[str, str]]]
    watched: frozenset[str]
    fires: frozenset[str] = frozenset()
    silent: frozenset[str] = frozenset()
    later: Series = field(default_factory=dict)
    turn: int = 0

    def written(self) -> dict[str, Any]:
        """As promtool reads it."""
        return {
            "name": self.name,
            "interval": duration(self.step_s),
            "input_series": [
                {"series": name, "values": self._values(name, step)} for name, step in self.rising.items()
            ],
            "alert_rule_test": [
                {
                    "eval_time": duration(self.step_s * self.steps),
                    "alertname": name,
                    "exp_alerts": [
                        {"exp_labels": alert.all_labels, "exp_annotations": annotations}
                        for alert, annotations in self.alerts
                        if alert.name == name
                    ],
                }
                for name in sorted(self.watched)
            ],
        }

    def _values(self, name: str, step: float) -> str:
        if not self.turn:
            return f"0+{step:.12g}x{self.steps}"
        later = self.later[name]
        rest = f"{step * self.turn + later:.12g}+{later:.12g}x{self.steps - self.turn - 1}"
        return f"0+{step:.12g}x{self.turn} {rest}"


def identity(alert: Alert) -> str:
    """What tells an alerting rule from all others."""
    labels = ", ".join(f"{name}={value}" for name, value in sorted(alert.all_labels.items()))
    return f"{alert.name}{{{labels}}}"


def write(folder: Path, rules: Path, groups: Sequence[str], cases: Iterable[Case]) -> list[Path]:
    """Files of tests, one for each length of time; rules are evaluated at its end only, for nothing of them is older.

    Args:
        rules: the file of the rules.
        groups: its groups, in their order.
    """
    by_length: dict[int, list[Case]] = {}
    for case in cases:
        by_length.setdefault(case.step_s * case.steps, []).append(case)
    written = []
    for length_s, same in by_length.items():
        path = folder / f"{rules.stem}-{duration(length_s)}.yaml"
        document = {
            "rule_files": [str(rules.absolute())],
            "evaluation_interval": duration(length_s),
            "group_eval_order": list(groups),
            "tests": [case.written() for case in same],
        }
        path.write_text(yaml.safe_dump(document, sort_keys=False, width=1000), encoding="utf-8")
        written.append(path)
    return written


def run(*words: object) -> "subprocess.CompletedProcess[str]":
    """Run promtool.

    Raises:
        FileNotFoundError: there is none.
    """
    if (program := shutil.which("promtool")) is None:
        raise FileNotFoundError("there is no promtool: Debian's and Ubuntu's package `prometheus` has it")
    return subprocess.run([program, *map(str, words)], capture_output=True, text=True, check=False)


# Promises


def burn_cases(service: Service) -> Iterator[Case]:
    """Tests of all alerts of a service's promises.

    Promises that have no series in common are burnt in one test: rules are looked at as often for one as for all.
    """
    for slos in _apart(service.slos):
        for one in BURNS:
            yield _burning(service, slos, one, ABOVE)
            yield _burning(service, slos, one, BELOW)
        yield _over(service, slos)
        yield _few(service, slos, ABOVE)
        yield _few(service, slos, BELOW)


def _burning(service: Service, slos: Sequence[Slo], one: Burn, nearness: float) -> Case:
    """A budget burns evenly, at about the rate of an alert; slower ones fire too."""
    factor = one.factor * nearness
    above = nearness > 1
    return Case(
        name=f"{'just above' if above else 'just below'} {one.factor:g} times over {duration(one.long_s)}",
        step_s=STEP_S,
        steps=one.long_s // STEP_S,
        rising=_series((slo, factor * slo.budget, _EVENTS) for slo in slos),
        alerts=_firing(
            service,
            [(slo, factor * slo.budget) for slo in slos],
            [each for each in BURNS if each.factor < factor],
        ),
        watched=_alert_names(slos),
        fires=_identities(service, slos, one) if above else frozenset(),
        silent=frozenset() if above else _identities(service, slos, one),
    )


def _over(service: Service, slos: Sequence[Slo]) -> Case:
    """All was bad until the short window began: the alert is over, though the long window still holds all of it."""
    one = BURNS[0]
    steps = one.long_s // STEP_S
    turn = steps - one.short_s // STEP_S
    return Case(
        name=f"all was bad, and is well again for {duration(one.short_s)}",
        step_s=STEP_S,
        steps=steps,
        rising=_series((slo, 1.0, _EVENTS) for slo in slos),
        later=_series((slo, 0.0, _EVENTS) for slo in slos),
        turn=turn,
        alerts=_firing(service, [(slo, turn / steps) for slo in slos], BURNS[1:]),
        watched=_alert_names(slos),
        silent=_identities(service, slos, one),
    )


def _few(service: Service, slos: Sequence[Slo], nearness: float) -> Case:
    """All of a few events are bad: as many as it takes, or not quite."""
    one = BURNS[0]
    steps = one.long_s // STEP_S
    enough = nearness > 1
    return Case(
        name=f"{'just enough' if enough else 'not quite enough'} bad events, and no others",
        step_s=STEP_S,
        steps=steps,
        rising=_series((slo, 1.0, slo.least_bad * nearness / steps) for slo in slos),
        alerts=_firing(service, [(slo, 1.0) for slo in slos], BURNS if enough else ()),
        watched=_alert_names(slos),
        fires=_identities(service, slos, one) if enough else frozenset(),
        silent=frozenset() if enough else _identities(service, slos, one),
    )


def _firing(
    service: Service, shares: Sequence[tuple[Slo, float]], burns: Sequence[Burn]
) -> list[tuple[Alert, dict[str, str]]]:
    return [
        (rule, rule.annotations(percent=f"{100 * share:.4g}%"))
        for slo, share in shares
        for one in burns
        for rule in [burn.alert(service, slo, one)]
    ]


def _identities(service: Service, slos: Sequence[Slo], one: Burn) -> frozenset[str]:
    return frozenset(identity(burn.alert(service, slo, one)) for slo in slos)


def _alert_names(slos: Sequence[Slo]) -> frozenset[str]:
    return frozenset(slo.alert for slo in slos)


def _series(burning: Iterable[tuple[Slo, float, float]]) -> Series:
    """Series of promises, with the share that is bad and the number of events in a step."""
    return {
        name: step
        for slo, share, events in burning
        for name, step in _of_indicator(slo.indicator, share * events, (1 - share) * events).items()
    }


def _of_indicator(indicator: Errors | Share | Latency, bad: float, good: float) -> Series:
    match indicator:
        case Errors():
            first, *_ = indicator.bad[indicator.bad_label]
            return {
                _one(indicator, **{indicator.bad_label: first}): bad,
                _one(indicator, **{indicator.bad_label: "OK"}): good,
            }
        case Share():
            return {_one(indicator): bad, _one(indicator.of): bad + good}
        case Latency():
            return {
                _one(indicator, "_bucket", le=str(indicator.within_s)): good,
                _one(indicator, "_bucket", le="+Inf"): bad + good,
                _one(indicator, "_count"): bad + good,
            }


def _one(selector: Selector, suffix: str = "", **more: str) -> str:
    """A series that a selector selects."""
    # The expressions that are used begin with what is meant by them.
    matched = {name: value.replace(".+", "Any") for name, value in selector.matching.items()}
    labels = {**selector.labels, **matched, **more}
    told = ", ".join(f'{name}="{value}"' for name, value in labels.items())
    return f"{selector.signal}{suffix}{{{told}}}"


def _apart(slos: Sequence[Slo]) -> list[list[Slo]]:
    groups: list[list[Slo]] = []
    for slo in slos:
        for group in groups:
            if not any(_overlap(slo.indicator, other.indicator) for other in group):
                group.append(slo)
                break
        else:
            groups.append([slo])
    return groups


def _overlap(one: Selector, other: Selector) -> bool:
    names = [{each.signal, *([each.of.signal] if isinstance(each, Share) else [])} for each in (one, other)]
    told_apart = any(one.labels[name] != other.labels.get(name, one.labels[name]) for name in one.labels)
    return bool(names[0] & names[1]) and not told_apart


# Drift


def drift_cases(watched: Watched, baseline: Baseline) -> Iterator[Case]:
    """Tests of the alerts of a feature's drift."""
    for severity, limit in watched.limits.items():
        for nearness in (ABOVE, BELOW):
            yield _drifted(
                watched, baseline, limit * nearness, 3 * watched.least_events, drift.alert(watched, severity)
            )
    most = max(watched.limits.values())
    yield _drifted(watched, baseline, 2 * most, BELOW * watched.least_events, None)


def _drifted(
    watched: Watched, baseline: Baseline, distance: float, events: float, about: Alert | None
) -> Case:
    bins = watched.bins(baseline)
    usual = [one.share for one in bins]
    shares = drift.moved(watched.measure, usual, distance)
    step_s, steps = watched.window_s // 12, 12
    counts = [share * events / steps for share in shares]
    enough = events >= watched.least_events
    value = f"{drift.distance(watched.measure, shares, usual):.2f}"
    firing = [
        (rule, rule.annotations(number=value))
        for severity, limit in watched.limits.items()
        if enough and distance > limit
        for rule in [drift.alert(watched, severity)]
    ]
    every = frozenset(identity(drift.alert(watched, severity)) for severity in watched.limits)
    own = every if about is None else frozenset({identity(about)})
    fires = own & {identity(rule) for rule, _ in firing}
    return Case(
        name=f"{watched.feature} is {distance:.3g} away, in {events:g} values",
        step_s=step_s,
        steps=steps,
        rising=_of_feature(watched, [one.name for one in bins], counts, [one.upto for one in bins]),
        alerts=firing,
        watched=frozenset({watched.alert}),
        fires=fires,
        silent=own - fires,
    )


def _of_feature(
    watched: Watched, names: Sequence[str], counts: Sequence[float], bounds: Sequence[str | None]
) -> Series:
    if watched.of is not None:
        return {_one(watched.values): counts[0], _one(watched.of): sum(counts)}
    if watched.by is not None:
        return {
            _one(watched.values, **{watched.by: name}): count
            for name, count in zip(names, counts, strict=True)
        }
    below = list(itertools.accumulate(counts))
    buckets = {
        _one(watched.values, "_bucket", le=str(bound)): count
        for bound, count in zip(bounds, below, strict=True)
    }
    return {**buckets, _one(watched.values, "_count"): below[-1]}
