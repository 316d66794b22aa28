"""From conditions to rules."""

from observability.rules import Alert, Group
from observability.specification import Conditions
from observability.windows import Scale, duration

_EVERY_S = 30


def groups(told: Conditions, scale: Scale = Scale()) -> list[Group]:
    """The rules of all conditions."""
    rules = [
        Alert(
            name=one.alert,
            expression=one.expression,
            severity=one.severity,
            summary=one.summary,
            description="",
            lasting=duration(one.lasting_s / scale.divisor) if one.lasting_s else "",
        )
        for one in told.conditions
    ]
    return [Group("hemaserve-conditions", rules, scale.every(_EVERY_S))]
