"""The screens of a run: what is up and what to do next, and what it came to in the end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.table import Table

from emu.cli import output
from nodes.base import DNS_PORT

if TYPE_CHECKING:
    from emu.cluster import Slot
    from emu.session import Session


def print_welcome(session: Session, took_s: float) -> None:
    """The first screen: what runs, where to point what, what to type next. On stderr."""
    cluster = session.cluster
    slots = list(cluster.slots.values())
    up = [slot for slot in slots if slot.state == "up"]
    err = output.err
    err.print()
    err.print(
        f"[bold]{session.topology.name}[/] is up: {len(up)} of {len(slots)} nodes "
        f"in {output.seconds(took_s)}"
    )
    grid = Table.grid(padding=(0, 2))
    for tier in session.topology.tiers:
        members = cluster.tier_slots(tier.name)
        where = ", ".join(dict.fromkeys(slot.spec.region for slot in members))
        first = members[0].machine.address if members else ""
        public = "public" if tier.public else "private"
        grid.add_row(
            f"  [cyan]{tier.name}[/]",
            f"{len(members)} × {tier.word}",
            where,
            f"{first}:{tier.kind.port}" if tier.word != "users" else "",
            f"[dim]{public if tier.word != 'users' else ''}[/]",
        )
    err.print(grid)
    err.print("\n[bold]Look[/]")
    for line in _look(session, slots):
        err.print(f"  {line}", markup=False)
    err.print("\n[bold]Break it[/] [dim](from a second terminal)[/]")
    for line in _break(slots):
        err.print(f"  {line}", markup=False)
    err.print("\n[dim]Ctrl-C ends it. What happens is told below.[/]\n")


def _look(session: Session, slots: list[Slot]) -> list[str]:
    lines = []
    for kind in ("cdn", "balancer", "web"):
        front = [slot for slot in slots if slot.spec.kind == kind and slot.spec.public]
        if front:
            lines.append(f"curl http://{front[0].machine.address}:{front[0].spec.port}/")
            lines.append(f"browser:     http://{front[0].machine.address}:{front[0].spec.port}/")
            break
    for slot in slots:
        if slot.spec.kind == "dns" and slot.spec.public:
            zone = getattr(slot.placement.config, "zone", "")
            lines.append(f"dig @{slot.machine.address} -p {DNS_PORT} www.{zone}")
            break
    lines.append(f"status page: {session.observe.url}/")
    lines.append(f"Prometheus:  http_sd at {session.observe.url}/sd")
    lines.append("emu ps       emu events -f       emu summary")
    return lines


def _break(slots: list[Slot]) -> list[str]:
    tiers = list(dict.fromkeys(slot.spec.tier for slot in slots if slot.spec.kind != "users"))
    web = next((slot.spec.tier for slot in slots if slot.spec.kind == "web"), tiers[0])
    lines = [f"emu kill 'one {web}' --for 5s"]
    database = next((slot for slot in slots if slot.spec.kind == "database"), None)
    if database is not None:
        alone = sum(slot.spec.tier == database.spec.tier for slot in slots) == 1
        target = database.spec.tier if alone else f"'{database.spec.tier} primary'"
        lines.append(f"emu crash {target} --for 3s")
    balancer = next((slot for slot in slots if slot.spec.kind == "balancer"), None)
    if balancer is not None:
        lines.append(f"emu slow {web} --latency 80ms --for 10s     emu scale {web}=5")
        lines.append(f"emu partition {balancer.spec.tier} {web} --for 5s")
    else:
        lines.append(f"emu slow {web} --latency 80ms --for 10s     emu cpu {web} --cores 1")
    return lines


def print_summary(summary: Mapping[str, Any]) -> None:
    """The end of a run, for people."""
    latency = summary["latency_s"]
    grid = Table.grid(padding=(0, 2))
    grid.add_row("requests", f"{summary['requests']} ({summary['throughput_per_s']:g}/s)")
    if summary["requests"]:
        codes = ", ".join(f"{code} {count}" for code, count in summary["errors_by_code"].items())
        failed = f"{summary['errors']}" + (f" ({codes})" if codes else "")
        grid.add_row("errors", failed)
        grid.add_row("availability", f"{summary['availability']:.4%}")
        if latency["p50"] is not None:
            p50, p99 = output.seconds(latency["p50"]), output.seconds(latency["p99"])
            grid.add_row("latency", f"p50 {p50}, p99 {p99}")
    lost = summary["lost_acknowledged_writes"]
    if lost is not None:
        grid.add_row(
            "writes", f"{summary['acknowledged_writes']} acknowledged, {lost} of them lost"
        )
    lag = summary["loop_lag_s"]
    grid.add_row("loop lag", f"p99 {output.seconds(lag['p99'])}")
    output.err.print()
    output.err.print(f"[bold]{summary['name']}[/]: {output.seconds(summary['ran_s'])}")
    output.err.print(grid)
    for each in summary["expectations"]:
        mark, style = ("held", "green") if each["held"] else ("FAILED", "bold red")
        output.note(f"  {mark:<7} {each['text']}  (it was {each['actual']})", style=style)
    if not summary["trustworthy"]:
        output.note("  Do not trust these numbers: the laptop was too busy.", style="bold yellow")
        for reason in summary["reasons"]:
            output.note(f"    {reason}", style="yellow")
    output.note(f"verdict: {summary['verdict']}")
