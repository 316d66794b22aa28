"""A service's own figures, read from its metrics endpoint as Prometheus does. Blocking: call it in a thread."""

import re
import time
import urllib.request
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from typing import Final

from hemaserve.doctor.findings import Check, Finding, note, skipped, well, wrong
from hemaserve.doctor.reach import SOON_DAYS, TIMEOUT_S

REQUIRED: Final = ("hemaserve_ready", "hemaserve_rpc_handled_total", "hemaserve_rpc_duration_seconds_bucket")
"""What every service has, and what the alerts of any of them rest on."""

MAX_BYTES: Final = 16 * 2**20
CLOCK_S: Final = 5.0
"""Clocks may differ by so much: less than tokens and certificates are given."""

_SAMPLE: Final = re.compile(r"^([a-zA-Z_:][\w:]*)(?:\{.*?\})? (\S+)", re.MULTILINE)


def examine_metrics(url: str) -> Iterator[Finding]:
    """Whether an endpoint shows what alerts need, and what it says of files and certificates."""
    try:
        before = time.time()
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as response:  # noqa: S310 - the caller's own URL
            date, body = response.headers.get("Date"), response.read(MAX_BYTES)
        after = time.time()
    except (OSError, ValueError) as error:
        yield wrong(
            Check.METRICS,
            f"{url} cannot be read: {error}",
            "Prometheus sees nothing either, and no alert will fire.",
            "See metrics_listen of the service (python -m services.gateway --help), and who may reach that port.",
        )
        return
    values = samples(body.decode("utf-8", "replace"))
    if missing := [name for name in REQUIRED if name not in values]:
        yield wrong(
            Check.METRICS,
            f"{url} lacks {', '.join(missing)}",
            "Alerts that rest on them stay silent.",
            "See whether this is an endpoint of HemaServe's, and of this version.",
        )
    else:
        yield well(Check.METRICS, f"{url} shows {len(values)} signals")
    yield from judge(url, values)
    yield _clock(url, date, before, after)


def samples(text: str) -> Mapping[str, tuple[float, ...]]:
    """The values of each sample of Prometheus' text format, by its name."""
    found: dict[str, list[float]] = {}
    for name, value in _SAMPLE.findall(text):
        try:
            found.setdefault(name, []).append(float(value))
        except ValueError:
            continue
    return {name: tuple(values) for name, values in found.items()}


def judge(url: str, values: Mapping[str, tuple[float, ...]]) -> Iterator[Finding]:
    """What figures say is wrong."""
    for expiry in values.get("hemaserve_tls_certificate_expiry_timestamp_seconds", ()):
        days = (expiry - time.time()) / 86_400
        if days < SOON_DAYS:
            yield note(
                Check.METRICS,
                f"{url}: the service's certificate ends in {days:.1f} days",
                "From then on nobody will connect to it.",
                "Renew it, e.g. with: hemaserve certificates DIR --renew",
            )
    if any(values.get("hemaserve_tls_reload_failures_total", ())):
        yield note(
            Check.METRICS,
            f"{url}: new certificate files could not be used at least once",
            "The service goes on with the old ones until these end.",
            "Its log says which file and why; the certificate and its key must fit, and be replaced together.",
        )
    for name, what in (
        ("hemaserve_access_file_usable", "access file"),
        ("hemaserve_rollout_file_usable", "rollout file"),
    ):
        if 0 in values.get(name, ()):
            yield wrong(
                Check.METRICS,
                f"{url}: the {what} cannot be used",
                "What it said before still holds: changes since then, such as a revoked key, do not count.",
                "The gateway's log says what is wrong with it.",
            )


def _clock(url: str, date: str | None, before: float, after: float) -> Finding:
    try:
        theirs = parsedate_to_datetime(date or "").timestamp()
    except ValueError:
        return skipped(Check.CLOCK, f"{url} does not say what time it is")
    # It is said in whole seconds.
    apart = max(before - theirs - 1, theirs - after, 0.0)
    if apart > CLOCK_S:
        return wrong(
            Check.CLOCK,
            f"the clock of {url} is {apart:.0f} s from this machine's",
            "Tokens and certificates are refused by the wrong clock, and logs cannot be put together.",
            "Let both machines take their time from NTP.",
        )
    return well(Check.CLOCK, "clocks agree to within some seconds")
