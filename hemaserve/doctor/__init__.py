"""Examines a deployment from outside, as a client sees it: what is wrong with it, why that matters, what to do."""
