"""What broke is made again: within the attempts, the deadline and the budgets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hemaserve.errors import Internal, Unavailable
from services.runtime.remote import Deadline
from services.runtime.repeating import ATTEMPTS, RetryBudget, repeated


class Attempts:
    """Fails so many times, then succeeds."""

    def __init__(self, failures, error=Unavailable, budget=None):
        self.made = 0
        self.failures = failures
        self.error = error
        self.budget = budget or RetryBudget()

    async def __call__(self):
        with self.budget.told():
            self.made += 1
            if self.made <= self.failures:
                raise self.error("the test said so")
            return self.made

    def run(self, timeout_s=60.0):
        return repeated(
            self, budgets=[self.budget], deadline=Deadline(timeout_s), uniform=lambda low, high: high / 100
        )


async def test_what_breaks_is_made_again():
    assert await Attempts(ATTEMPTS - 1).run() == ATTEMPTS


async def test_there_is_an_end_to_it():
    attempts = Attempts(100)
    with pytest.raises(Unavailable):
        await attempts.run()
    assert attempts.made == ATTEMPTS


async def test_what_no_repetition_makes_right_is_not_made_again():
    attempts = Attempts(1, Internal)
    with pytest.raises(Internal):
        await attempts.run()
    assert attempts.made == 1


async def test_nothing_is_made_again_after_the_deadline():
    attempts = Attempts(1)
    with pytest.raises(Unavailable):
        await attempts.run(timeout_s=-1)
    assert attempts.made == 1


async def test_one_budget_is_shared_by_all_who_call_a_service():
    budget = RetryBudget(tokens=4, gain=0.5)
    made = 0
    for _ in range(10):
        attempts = Attempts(100, budget=budget)
        with pytest.raises(Unavailable):
            await attempts.run()
        made += attempts.made
    assert made == 10 + 1  # only the first failure left more than half of the tokens
    for _ in range(10):
        await Attempts(0, budget=budget).run()
    assert await Attempts(1, budget=budget).run() == 2


@given(st.lists(st.booleans()), st.floats(1, 100), st.floats(0, 1))
def test_a_budget_never_holds_more_than_its_tokens_nor_less_than_none(outcomes, tokens, gain):
    budget = RetryBudget(tokens, gain)
    left = tokens
    for good in outcomes:
        left = min(tokens, left + gain) if good else max(0.0, left - 1)
        (budget.succeeded if good else budget.failed)()
        assert budget.allows == (left > tokens / 2)
