"""Alerts without a Prometheus: the rules of dashboards/rules/, evaluated over samples.

Pure: nobody here knows a cluster. The language is the part of PromQL that shipped rules are
written in; what is beyond it is refused by name, never guessed.
"""
