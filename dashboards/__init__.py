"""Grafana dashboards and Prometheus rules for emu: one small module per dashboard.

`python -m dashboards` writes what is committed (json/, METRICS.md) from them.
"""
