"""Prometheus' rules as objects, and as the files that it reads."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import promql_parser
import yaml

from observability.windows import Severity, duration

RUNBOOKS: Final = "docs/runbooks"
"""Where runbooks lie, in this repository; an alert's link is one of its pages."""


@dataclass(frozen=True, slots=True)
class Record:
    """A recording rule."""

    name: str
    expression: str
    labels: Mapping[str, str] = field(default_factory=dict)

    def written(self, runbooks: str = RUNBOOKS) -> dict[str, Any]:  # noqa: ARG002 - as alerts are
        """As Prometheus reads it."""
        return _without_empty(
            {"record": self.name, "expr": _pretty(self.expression), "labels": dict(self.labels)}
        )


@dataclass(frozen=True, slots=True)
class Alert:
    """An alerting rule.

    Attributes:
        name: of the alert, and of its runbook.
        lasting: a Prometheus duration; empty for none.
        labels: beside `severity`, what tells it apart from others of its name.
        description: of this moment; may have Prometheus' templates.
    """

    name: str
    expression: str
    severity: Severity
    summary: str
    description: str
    labels: Mapping[str, str] = field(default_factory=dict)
    lasting: str = ""

    @property
    def all_labels(self) -> dict[str, str]:
        """Those that the rule gives it."""
        return {"severity": self.severity, **self.labels}

    def annotations(self, runbooks: str = RUNBOOKS, **values: str) -> dict[str, str]:
        """What is sent along; `values` replace the templates, as Prometheus would."""
        description = self.description
        for template, value in values.items():
            description = description.replace(TEMPLATES[template], value)
        told = {"summary": self.summary, "description": description}
        return _without_empty({**told, "runbook_url": f"{runbooks}/{self.name}.md"})

    def written(self, runbooks: str = RUNBOOKS) -> dict[str, Any]:
        """As Prometheus reads it."""
        return _without_empty(
            {
                "alert": self.name,
                "expr": _pretty(self.expression),
                "for": self.lasting,
                "labels": self.all_labels,
                "annotations": self.annotations(runbooks),
            }
        )


TEMPLATES: Final = {"percent": "{{ $value | humanizePercentage }}", "number": '{{ $value | printf "%.2f" }}'}
"""The templates that descriptions may have, by what they show."""


@dataclass(frozen=True, slots=True)
class Group:
    """Rules that are evaluated one after the other, so that later ones see what earlier ones recorded."""

    name: str
    rules: Sequence[Record | Alert]
    every_s: float

    def written(self, runbooks: str = RUNBOOKS) -> dict[str, Any]:
        """As Prometheus reads it."""
        return {
            "name": self.name,
            "interval": duration(self.every_s),
            "rules": [rule.written(runbooks) for rule in self.rules],
        }


def alerts(groups: Iterable[Group]) -> Iterator[Alert]:
    """All alerts of these groups."""
    for group in groups:
        yield from (rule for rule in group.rules if isinstance(rule, Alert))


def as_yaml(document: Mapping[str, Any], comment: str) -> str:
    """A file, with long text as people read it, and a comment before it."""
    text = yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)
    return f"# {comment}\n{text}"


class _Dumper(yaml.SafeDumper):
    """Lines of text stay lines, and no value is an alias of another."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - the parameter is PyYAML's
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def _pretty(expression: str) -> str:
    """PromQL as people read it.

    Raises:
        ValueError: it is none.
    """
    return promql_parser.parse(expression).prettify()


def _without_empty(document: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in document.items() if value not in ("", {})}
