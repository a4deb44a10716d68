"""The verbs that bring other people's tools to a running cluster: observe, dashboards."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import urlsplit

import typer

from emu import state
from emu.cli import output
from emu.cli.attach import ClusterOption, chosen

if TYPE_CHECKING:
    import trio

    from emu.observe.prometheus import Prometheus

POLL_S: Final = 0.3
GRAFANA: Final = "http://127.0.0.1:3000"
OutOption = Annotated[Path, typer.Option("--out", "-o", help="The folder to write.")]


def need_prometheus() -> None:
    """End the command in one line if it is not installed."""
    from emu.observe import prometheus

    try:
        prometheus.find()
    except prometheus.PrometheusError as error:
        output.fail(str(error))


def observe(cluster: ClusterOption = "") -> None:
    """Let the system's Prometheus scrape a running cluster, until Ctrl-C or its end."""
    import trio

    from emu.observe.prometheus import Prometheus

    need_prometheus()
    facts = chosen(cluster)
    if facts.get("prometheus"):
        output.note(f"`{facts['name']}` is scraped already: {facts['prometheus']}/alerts")
        return
    found = Prometheus(urlsplit(facts["observe"]).hostname or "127.0.0.1")
    try:
        trio.run(_observe, found, facts)
    except* KeyboardInterrupt:
        raise typer.Exit(output.INTERRUPTED) from None
    if found.problem:
        output.fail(f"prometheus ended: {found.problem}")
    output.note(f"`{facts['name']}` has ended")


async def _observe(found: Prometheus, facts: dict[str, Any]) -> None:
    import trio

    async def ready() -> None:
        output.note(f"Prometheus scrapes `{facts['name']}`: {found.url}/alerts  (Ctrl-C ends it)")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(_until_gone, Path(facts["folder"]), nursery.cancel_scope)
        await found.run(f"{facts['observe']}/sd", facts["nodes"], ready)
        nursery.cancel_scope.cancel()


async def _until_gone(folder: Path, scope: trio.CancelScope) -> None:
    import trio

    while True:
        await trio.sleep(POLL_S)
        if not state.is_locked(folder):
            scope.cancel()


def dashboards(out: OutOption = Path("emu-dashboards"), cluster: ClusterOption = "") -> None:
    """Export Grafana dashboards, Prometheus rules and a compose file that starts both."""
    from emu.observe import exporting, prometheus

    facts = chosen(cluster) if cluster or state.running() else {}
    scraped_by = str(facts.get("prometheus", ""))
    every_s = prometheus.scrape_interval_s(int(facts.get("nodes", 1)))
    sd_url = f"{facts['observe']}/sd" if facts else ""
    try:
        count = exporting.export(out, sd_url=sd_url, every_s=every_s, prometheus_url=scraped_by)
    except OSError as error:
        output.fail(f"cannot write {out}: {error.strerror}")
    whose = f"`{facts['name']}`" if facts else "the first cluster that you start"
    profile = "" if scraped_by else " --profile prometheus"
    output.note(f"{count} dashboards, rules and a compose file, for {whose}, are in {out}/")
    output.note(f"  docker compose -f {out}/compose.yaml{profile} up -d")
    output.note(f"  then open {GRAFANA}; or import {out}/json/*.json into a Grafana of yours")
