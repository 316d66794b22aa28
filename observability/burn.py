"""From promises to rules: how much of the error budget is spent, and alerts that it is spent too fast.

A window is called by its length at scale 1 whatever the scale: who reads what is recorded need not know of it.
"""

from collections.abc import Iterator
from typing import Final

from observability.rules import TEMPLATES, Alert, Group, Record
from observability.specification import Service, Slo
from observability.windows import BURNS, HOUR, PERIOD, Burn, Scale, duration

ERRORS: Final = "hemaserve:sli_errors:ratio"
EVENTS: Final = "hemaserve:sli_events:increase"
OBJECTIVE: Final = "hemaserve:slo_objective:ratio"
BUDGET_LEFT: Final = "hemaserve:slo_budget_left:ratio"

_SHORT: Final = tuple(sorted({s for burn in BURNS for s in (burn.long_s, burn.short_s) if s <= HOUR}))
_LONG: Final = tuple(sorted({s for burn in BURNS for s in (burn.long_s, burn.short_s) if s > HOUR}))
_COUNTED: Final = frozenset(burn.long_s for burn in BURNS)
_EVERY_S: Final = 30
_LONG_EVERY_S: Final = 120
"""Windows of hours and days change slowly, and cost more to look at."""


def groups(service: Service, scale: Scale = Scale()) -> list[Group]:
    """The rules of a service's promises."""
    name = f"hemaserve-{service.service}"
    every_s, long_every_s = scale.every(_EVERY_S), scale.every(_LONG_EVERY_S)
    slos = service.slos
    return [
        Group(
            f"{name}-windows",
            [rule for slo in slos for rule in _records(service, slo, _SHORT, scale)],
            every_s,
        ),
        Group(
            f"{name}-long-windows",
            [rule for slo in slos for rule in _records(service, slo, _LONG, scale)],
            long_every_s,
        ),
        Group(
            f"{name}-budget", [rule for slo in slos for rule in _budget(service, slo, scale)], long_every_s
        ),
        Group(
            f"{name}-alerts",
            [alert(service, slo, burn) for slo in slos for burn in BURNS],
            every_s,
        ),
    ]


def labels(service: Service, slo: Slo) -> dict[str, str]:
    """What tells a promise apart."""
    return {"service": service.service, "slo": slo.name}


def alert(service: Service, slo: Slo, burn: Burn) -> Alert:
    """The alert that a promise's budget burns too fast."""
    told = ", ".join(f'{key}="{value}"' for key, value in labels(service, slo).items())
    long, short = duration(burn.long_s), duration(burn.short_s)
    bound = f"{burn.factor:g} * {slo.budget:g}"
    return Alert(
        name=slo.alert,
        expression=(
            f"{ERRORS}_rate{long}{{{told}}} > {bound}\n"
            f"and {ERRORS}_rate{short}{{{told}}} > {bound}\n"
            f"and {ERRORS}_rate{long}{{{told}}} * {EVENTS}{long}{{{told}}} >= {slo.least_bad}\n"
        ),
        severity=burn.severity,
        summary=slo.summary,
        description=(
            f"{TEMPLATES['percent']} of events in {long} were bad; the promise allows {100 * slo.budget:g}%."
        ),
        labels={**labels(service, slo), "window": long},
    )


def _records(service: Service, slo: Slo, windows: tuple[int, ...], scale: Scale) -> Iterator[Record]:
    told = labels(service, slo)
    for window_s in windows:
        name, window = duration(window_s), scale.window(window_s)
        yield Record(f"{ERRORS}_rate{name}", slo.indicator.error_ratio(window), told)
        if window_s in _COUNTED:
            yield Record(f"{EVENTS}{name}", slo.indicator.events(window), told)


def _budget(service: Service, slo: Slo, scale: Scale) -> Iterator[Record]:
    told = labels(service, slo)
    spent = f"({slo.indicator.error_ratio(scale.window(PERIOD))}) / {slo.budget:g}"
    yield Record(OBJECTIVE, f"vector({slo.objective:g})", told)
    yield Record(BUDGET_LEFT, f"1 - {spent}", told)
