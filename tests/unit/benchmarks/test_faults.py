"""How a campaign chooses whom it hits, and what is reported of it."""

import asyncio

import pytest

from benchmarks import campaign as campaigns
from benchmarks.campaign import Campaign, Fault
from benchmarks.faults import report
from benchmarks.faulty_stack import Replica
from benchmarks.load import Call, Tally

NAMES = ("gateway", "detector")


class FakeStack:
    """Two of each; some of them unwell."""

    def __init__(self, *unwell):
        self.sick = set(unwell)

    def replicas(self):
        return [Replica(name, number, "", 1) for name in NAMES for number in (1, 2)]

    async def unwell(self):
        return [one for one in self.replicas() if one.label in self.sick]


@pytest.fixture
def strikes(monkeypatch):
    """`await strikes(stack)`: whom a hundred faults hit, and the campaign."""
    monkeypatch.setattr(campaigns, "POLL_S", 0.0)
    monkeypatch.setattr(campaigns, "STEADY_S", 0.0)
    monkeypatch.setattr(campaigns, "LEAST_GAP_S", 0.0)

    async def run(stack, strike=None):
        hit = []

        async def note(target, began):
            replica = target.replica()
            began(replica.label)
            hit.append(replica.label)
            if strike is not None:
                await strike(replica)

        monkeypatch.setattr(campaigns, "KINDS", {"kill": note})
        campaign = Campaign(stack, Tally(), seed=1, every_s=0.001)
        await campaign.run(0.3)
        return hit, campaign

    return run


async def test_all_are_hit_while_all_are_well(strikes):
    hit, campaign = await strikes(FakeStack())
    assert set(hit) == {f"{name}-{number}" for name in NAMES for number in (1, 2)}
    assert all(fault.whole is not None for fault in campaign.faults)


async def test_the_side_of_those_who_are_well_is_spared_and_the_unwell_are_not_hit_again(strikes):
    hit, _ = await strikes(FakeStack("detector-2"))
    assert set(hit) == {"gateway-2"}


async def test_no_fault_strikes_while_both_sides_are_unwell(strikes):
    hit, _ = await strikes(FakeStack("detector-2", "gateway-1"))
    assert hit == []


async def test_a_fault_that_lasts_keeps_others_to_its_side(strikes):
    under_way, worst = set(), []

    async def last(replica):
        under_way.add(replica)
        worst.append(len({one.number for one in under_way}))
        await asyncio.sleep(0.01)
        under_way.discard(replica)

    hit, _ = await strikes(FakeStack(), last)
    assert hit
    assert max(worst) == 1


async def test_what_never_recovers_is_told(strikes, monkeypatch):
    monkeypatch.setattr(campaigns, "RECOVERY_TIMEOUT_S", 0.01)
    stack = FakeStack()

    async def lasting(replica):
        stack.sick.add(replica.label)

    _, campaign = await strikes(stack, lasting)
    assert campaign.faults[0].whole is None


@pytest.mark.parametrize(
    ("calls", "seconds"),
    [
        ([Call(9.0, 10.5, "OK"), Call(11.0, 11.2, "OK")], 0.5),
        ([Call(9.0, 9.5, "OK"), Call(12.0, 12.7, "OK")], 0.7),
        ([Call(9.0, 10.5, "UNAVAILABLE"), Call(10.6, 12.0, "OK")], 2.0),
        ([Call(11.0, 11.5, "UNAVAILABLE"), Call(12.0, 14.0, "OK")], 3.0),
    ],
    ids=["under way", "the next", "under way and failed", "the next failed"],
)
def test_an_answer_is_waited_for_from_the_fault_or_from_the_first_call_after_it(calls, seconds):
    figures = report([Fault("kill", 1, "gateway-1", 10.0, 15.0)], Tally(fields=3, calls=calls), 0.0, 60.0)
    assert figures["kinds"]["kill"]["answered_s"]["max"] == pytest.approx(seconds)
    assert figures["kinds"]["kill"]["whole_s"]["max"] == 5.0


@pytest.mark.parametrize("wrong", [{"lost": 1}, {"duplicated": 1}, {"mixed_up": 1}, {"forbidden": 1}])
def test_whatever_is_wrong_makes_a_claim_fail(wrong):
    faults = [Fault("kill", 1, "gateway-1", float(number), number + 1.0) for number in range(200)]
    sound = report(faults, Tally(fields=9), 0.0, 1801.0)
    assert all(claim["holds"] for claim in sound["claims"])
    assert not all(
        claim["holds"] for claim in report(faults, Tally(fields=9, **wrong), 0.0, 1801.0)["claims"]
    )


def test_too_few_faults_or_too_short_a_run_prove_nothing():
    faults = [Fault("kill", 1, "gateway-1", float(number), number + 1.0) for number in range(200)]
    for some, seconds in ((faults[:199], 1801.0), (faults, 1700.0)):
        assert not report(some, Tally(), 0.0, seconds)["claims"][0]["holds"]
