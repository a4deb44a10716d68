"""A copy of dashboards/ that Grafana and Prometheus can be started on, beside a certain cluster."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from emu.observe import prometheus

DEFAULT_SD: Final = "http://127.7.0.1:9100/sd"
"""Where the first cluster of a computer is found."""
OWN_PROMETHEUS: Final = "http://127.0.0.1:9090"
"""The compose file's own."""
COPIED: Final = ("json", "rules", "grafana", "compose.yaml", "METRICS.md")
DATASOURCE: Final = "grafana/provisioning/datasources/emu.yaml"


def export(out: Path, *, sd_url: str = "", every_s: int = 1, prometheus_url: str = "") -> int:
    """Write it all below `out`; how many dashboards there are. Raises OSError.

    `prometheus_url`: one that scrapes the cluster already; else the compose file starts one.
    """
    out.mkdir(parents=True, exist_ok=True)
    for name in COPIED:
        source, target = prometheus.DASHBOARDS / name, out / name
        if source.is_dir():
            ignored = shutil.ignore_patterns("tests")
            shutil.copytree(source, target, dirs_exist_ok=True, ignore=ignored)
        else:
            shutil.copy(source, target)
    text = prometheus.config(
        sd_url or DEFAULT_SD, every_s=every_s, rules="/etc/prometheus/rules/*.yaml"
    )
    (out / "prometheus.yml").write_text(text)
    datasource = out / DATASOURCE
    filled_in = datasource.read_text().replace(OWN_PROMETHEUS, prometheus_url or OWN_PROMETHEUS)
    datasource.write_text(filled_in.replace("timeInterval: 1s", f"timeInterval: {every_s}s"))
    return len(list((out / "json").glob("*.json")))
