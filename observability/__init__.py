"""Service levels as code: specifications in, Prometheus' rules, their tests, and Grafana's dashboards out.

What is written by hand lies in deploy/observability/slos; `python -m observability` writes all the rest.
"""
