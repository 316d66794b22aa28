"""A batch never returns another request's rows, whatever becomes of the requests beside it."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass
from enum import StrEnum

import grpc.aio
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from hemaserve.broken_calls import is_broken
from hemaserve.errors import DeadlineExceeded, DomainError, Internal

from .conftest import CLIENTS
from .tagged import ENSEMBLE, MIXED_UP, POISON, TAGGED, TAGGED_OPENVINO, TAGS, Row, crop, strangers


class Fate(StrEnum):
    """What becomes of a request."""

    ANSWERED = "answered"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    PARTLY_UNREADABLE = "partly unreadable"
    POISONED = "poisoned"


@dataclass(frozen=True)
class Order:
    """One request: how many crops, what becomes of it, and where or when."""

    rows: int
    fate: Fate
    at: float
    """Place of the bad crop as a share of the rows; or when it is cancelled or expires, as a share of 20 ms."""


MOST = 0.02
orders = st.builds(Order, st.integers(1, 40), st.sampled_from(Fate), st.floats(0, 1, exclude_max=True))
plans = st.lists(st.lists(orders, min_size=1, max_size=8), min_size=2, max_size=CLIENTS)
"""For each client, what it asks at the same time."""

_tags = itertools.count(1)


async def carry_out(way, model, plan):
    """All requests of all clients at once: for each, its order, and its answered rows or its error."""

    async def one(client, order):
        tags = [next(_tags) * 7919 % TAGS for _ in range(order.rows)]  # neighbours differ in all three bytes
        place = int(order.at * order.rows)
        if order.fate is Fate.POISONED:
            tags[place] |= POISON
        options = {}
        if order.fate is Fate.PARTLY_UNREADABLE:
            options["unreadable"] = (place,)
        if order.fate is Fate.EXPIRED:
            options["timeout_s"] = order.at * MOST + 1e-4
        asking = way.ask(client, model, tags, **options)
        try:
            if order.fate is Fate.CANCELLED:
                asking = asyncio.wait_for(asking, order.at * MOST)
            return order, await asking
        except (DomainError, grpc.aio.AioRpcError, TimeoutError) as error:
            return order, error

    return await asyncio.gather(
        *(one(client, order) for client, its_own in enumerate(plan) for order in its_own)
    )


def rows_of(outcomes):
    return [row for _, outcome in outcomes if isinstance(outcome, list) for row in outcome]


def fits(order, error):
    """Whether a request may fail like this."""
    match order.fate:
        case Fate.CANCELLED:
            return isinstance(error, TimeoutError)
        case Fate.EXPIRED:
            if isinstance(error, DeadlineExceeded) or is_broken(error):
                return True
            # Or it was refused when it came, because it would have been late.
            return error.code() in (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.RESOURCE_EXHAUSTED)
        case Fate.POISONED:
            return isinstance(error, Internal) or error.code() is grpc.StatusCode.INTERNAL
    return False


@pytest.mark.parametrize("model", [TAGGED, TAGGED_OPENVINO, ENSEMBLE])
@given(plan=plans)
@settings(
    max_examples=15,
    # What happens depends on timing too, so that a smaller example would show nothing.
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
)
async def test_every_answered_row_is_of_its_own_crop(way, model, plan):
    outcomes = await carry_out(way, model, plan)
    assert strangers(rows_of(outcomes)) == {}
    unfit = [
        f"{order}: {error!r}"
        for order, error in outcomes
        if isinstance(error, BaseException) and not fits(order, error)
    ]
    assert unfit == []


async def test_requests_do_share_batches(way, tagged_triton, metric):
    def figures():
        names = ("nv_inference_request_success", "nv_inference_exec_count")
        return [metric(tagged_triton, name, model=TAGGED) for name in names]

    before = figures()
    plan = [[Order(1, Fate.ANSWERED, 0.0)] * 8] * CLIENTS
    outcomes = await carry_out(way, TAGGED, plan)
    assert strangers(rows_of(outcomes)) == {}
    # Triton counts a request after it has answered it; what was cancelled before may still be on its way.
    for _ in range(200):
        requests, executions = np.subtract(figures(), before)
        if requests >= 8 * CLIENTS:
            break
        await asyncio.sleep(0.05)
    assert requests >= 8 * CLIENTS
    assert executions < requests * 3 / 4


async def test_a_network_that_mixes_rows_up_is_noticed(way):
    # Rows of a request among each other, and with those of others that happen to share its batch.
    outcomes = await carry_out(
        way, MIXED_UP, [[Order(rows, Fate.ANSWERED, 0.0) for rows in (1, 2, 5)]] * CLIENTS
    )
    found = strangers(rows_of(outcomes))
    assert found
    requests = [{tag for tag, _ in outcome} for _, outcome in outcomes]
    of_others = [came - request for request in requests for sent, came in found.items() if sent in request]
    assert any(of_others), "no two requests ever shared a batch"


def test_a_torn_crop_has_two_tags():
    # The upper half of one crop and the lower half of another, as the network sees them.
    torn = np.concatenate([crop(0x010203)[:8], crop(0x040506)[8:]])
    dark, bright = torn.min(axis=(0, 1)).astype(float), torn.max(axis=(0, 1)).astype(float)
    pairs = [share for value in bright for share in (value / 765, (255 - value) / 765)]
    row = Row(float(dark @ [1, 256, 65536]), pairs)
    assert strangers([(0x010203, row)]) == {0x010203: {0x010203, 0x040506}}
