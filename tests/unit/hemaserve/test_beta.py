"""Beta quantiles, beside those of SciPy."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import betainc, betaincinv

from hemaserve.beta import beta_quantile

tails = st.sampled_from((0.0005, 0.005, 0.025, 0.5, 0.975, 0.995, 0.9995))


@given(st.integers(1, 5000), st.data(), tails)
def test_it_is_scipys_for_every_count_of_cells(n, data, p):
    a = data.draw(st.integers(1, n))

    assert beta_quantile(p, a, n - a + 1) == pytest.approx(betaincinv(a, n - a + 1, p), rel=1e-11)


@given(st.floats(0.05, 500), st.floats(0.05, 500), st.floats(0.01, 0.99))
def test_the_distribution_reaches_p_at_the_quantile(a, b, p):
    x = beta_quantile(p, a, b)

    # Where the distribution is steepest the nearest floats to x are further apart in p than this.
    assert betainc(a, b, x * (1 - 1e-9)) - 1e-9 <= p <= betainc(a, b, min(1.0, x * (1 + 1e-9))) + 1e-9


@pytest.mark.parametrize("n", [1, 2, 400, 100_000])
def test_the_limits_of_nothing_found_are_those_of_the_formula(n):
    assert beta_quantile(0.975, 1, n) == pytest.approx(-((0.025 ** (1 / n)) - 1), rel=1e-9)


@pytest.mark.parametrize(
    ("p", "a", "b"), [(0, 1, 1), (1, 1, 1), (0.5, 0, 1), (0.5, 1, -1), (float("nan"), 1, 1)]
)
def test_what_has_no_quantile_is_refused(p, a, b):
    with pytest.raises(ValueError, match="no beta quantile"):
        beta_quantile(p, a, b)
