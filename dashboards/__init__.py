"""Watching: Grafana dashboards as code, Prometheus configuration and rules, and the check that they are true.

boards/           what is shown, as plain values
grafana           those values as Grafana JSON, by the Foundation SDK; written by `build`
rules/            recording and alert rules, with unit tests for promtool
check             a real Prometheus, a real run, every query asked
"""
