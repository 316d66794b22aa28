"""What an examination finds."""

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """How bad a finding is."""

    WELL = "well"
    NOTE = "note"
    """Nothing is wrong, but it is to be known, or will be wrong before long."""
    WRONG = "wrong"
    SKIPPED = "skipped"
    """It could not be looked at, because of something else that is wrong, or for lack of a role."""


class Check(StrEnum):
    """What is looked at, in the order of looking."""

    NAME = "name"
    REACH = "reach"
    TLS = "tls"
    ACCESS = "access"
    HEALTH = "health"
    VERSION = "version"
    MODELS = "models"
    ROLLOUT = "rollout"
    DETECTOR = "detector"
    CLASSIFIER = "classifier"
    ANSWER = "answer"
    TIME = "time"
    LIMITS = "limits"
    QUOTA = "quota"
    METRICS = "metrics"
    CLOCK = "clock"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. Never holds a key, a token or anything else that is secret.

    Attributes:
        what: what was found.
        why: why it matters; empty where all is well.
        to_do: what to do about it; empty where there is nothing to do.
    """

    check: Check
    state: State
    what: str
    why: str = ""
    to_do: str = ""


def well(check: Check, what: str) -> Finding:
    """All is as it should be."""
    return Finding(check, State.WELL, what)


def note(check: Check, what: str, why: str, to_do: str) -> Finding:
    """Nothing is wrong yet."""
    return Finding(check, State.NOTE, what, why, to_do)


def wrong(check: Check, what: str, why: str, to_do: str) -> Finding:
    """Something is wrong."""
    return Finding(check, State.WRONG, what, why, to_do)


def skipped(check: Check, what: str) -> Finding:
    """It could not be looked at."""
    return Finding(check, State.SKIPPED, what)
