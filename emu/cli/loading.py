"""`emu load`: which server, how hard, and the figures as people and scripts read them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.control import Control
from rich.segment import ControlType

from emu.cli import output
from emu.cli.attach import ClusterOption, JsonOption, ask, complete_target
from emu.cli.files import duration_s

if TYPE_CHECKING:
    from emu.load.plan import Endpoint
    from emu.load.stats import Stats
    from nodes.parts.changing import Rate

CONNECTIONS: Final = 50
ERASED: Final = Control(ControlType.CARRIAGE_RETURN, (ControlType.ERASE_IN_LINE, 2))
"""Where progress was told, there is room for the next line."""

TargetArgument = Annotated[
    str,
    typer.Argument(
        metavar="URL|TIER",
        help="http://HOST:PORT/PATH, rpc://HOST:PORT, or what runs: lb, web-1 ...",
        autocompletion=complete_target,
    ),
]
RateOption = Annotated[
    str,
    typer.Option(
        "--rate",
        help="Open loop: so many, come what may: 200/s, or as a file's `rate:`, which may change: "
        "'[[0s, 50/s], [30s, 400/s]]'.",
    ),
]
ConnectionsOption = Annotated[
    int,
    typer.Option("--connections", "-C", help="At most so many; without --rate all of them ask."),
]
DepthOption = Annotated[int, typer.Option("--depth", help="RPC: in flight on each connection.")]
MethodOption = Annotated[
    str, typer.Option("--method", "-m", help="Call this over MessagePack-RPC.")
]
ParamsOption = Annotated[str, typer.Option("--params", help="The call's params: a JSON list.")]
HeaderOption = Annotated[list[str] | None, typer.Option("--header", "-H", help="'name: value'.")]
TimeoutOption = Annotated[str, typer.Option("--timeout", help="How long an answer may take.")]


def load(
    target: TargetArgument,
    rate: RateOption = "",
    connections: ConnectionsOption = CONNECTIONS,
    depth: DepthOption = 1,
    for_text: Annotated[str, typer.Option("--for", help="How long.")] = "10s",
    method: MethodOption = "",
    params: ParamsOption = "[]",
    path: Annotated[str, typer.Option("--path", help="HTTP: of a tier.")] = "/",
    header: HeaderOption = None,
    body: Annotated[str, typer.Option("--body", help="HTTP: POST this.")] = "",
    timeout: TimeoutOption = "5s",
    cluster: ClusterOption = "",
    as_json: JsonOption = False,
) -> None:
    """Load a server from outside, in this process, and say how it answered.

    With --rate requests leave when they are due and latency counts from then (open loop). Without
    it each connection asks again as soon as it has its answer (closed loop).
    """
    from emu import load as generator
    from emu.load.plan import Plan

    endpoints = _endpoints(target, method, path, cluster)
    try:
        plan = Plan(
            endpoints,
            _above_0("--for", duration_s("--for", for_text) or 0.0),
            _rate(rate),
            connections,
            depth,
            _above_0("--timeout", duration_s("--timeout", timeout) or 0.0),
            method or "ping",
            _params(params),
            tuple(_header(each) for each in header or []),
            body.encode(),
        )
    except ValueError as error:
        output.fail(str(error), output.USAGE)
    if not generator.HAS_UVLOOP:
        output.note("uvloop is not installed: on plain asyncio the generator tires sooner")
    output.note(f"{'open' if rate else 'closed'} loop against {_names(endpoints)} for {for_text}")
    summary = generator.run(plan, _tell_second if output.err.is_terminal else lambda stats: None)
    if output.err.is_terminal:
        output.err.control(ERASED)
    if as_json:
        output.result(summary)
    else:
        _show(summary)
    if summary["interrupted"]:
        raise typer.Exit(output.INTERRUPTED)
    if summary["requests"] == summary["errors"]:
        output.fail("nothing was answered well")


def _endpoints(target: str, method: str, path: str, cluster: str) -> tuple[Endpoint, ...]:
    from emu.load.plan import parse_url

    if "://" in target:
        try:
            return (parse_url(target),)
        except ValueError as error:
            output.fail(str(error), output.USAGE)
    rows = ask(cluster, "urls", target, ["rpc"] if method else ["http", "rpc"])
    return tuple(replace(parse_url(row["url"]), path=path) for row in rows)


def _rate(text: str) -> Rate:
    from emu.load.plan import NO_RATE
    from emu.topology.rates import read_rate

    if not text:
        return NO_RATE
    rate = read_rate(text)
    _above_0("--rate", rate.peak_per_s)
    return rate


def _above_0(option: str, value: float) -> float:
    if value <= 0:
        raise ValueError(f"{option} must be above 0")
    return value


def _params(text: str) -> tuple[Any, ...]:
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, list):
        raise ValueError(f"--params: `{text[:60]}` is no JSON list; write for example '[\"a\", 1]'")
    return tuple(values)


def _header(text: str) -> tuple[str, str]:
    name, found, value = text.partition(":")
    if not found or not name.strip() or "\n" in text or "\r" in text:
        raise ValueError(f"--header: `{text[:60]}` is none; write 'name: value'")
    return name.strip().lower(), value.strip()


def _names(endpoints: tuple[Endpoint, ...]) -> str:
    more = f" and {len(endpoints) - 1} more" if len(endpoints) > 1 else ""
    return endpoints[0].shown + more


def _tell_second(stats: Stats) -> None:
    p99_s = stats.latency.quantile(0.99)
    shown = f", p99 {output.seconds(p99_s)}" if p99_s is not None else ""
    output.err.control(ERASED)
    output.err.print(f"  {stats.ok:,} answered, {stats.failed:,} failed{shown}", end="")


def _show(summary: Mapping[str, Any]) -> None:
    codes = ", ".join(f"{code} {count:,}" for code, count in summary["errors_by_code"].items())
    latency = summary["latency_s"]
    times = [
        f"{name.replace('_', '.')} {output.seconds(value)}"
        for name, value in latency.items()
        if value is not None
    ]
    rows = [
        ["requests", f"{summary['requests']:,} in {output.seconds(summary['ran_s'])}"],
        ["answered", f"{summary['throughput_per_s']:,.1f}/s"],
        ["errors", f"{summary['errors']:,}" + (f" ({codes})" if codes else "")],
        ["latency", ", ".join(times) or "-"],
    ]
    for name, value in rows:
        output.out.print(f"{name:<10}{value}", markup=False)
    for each in summary["slowest"][:1]:
        shown = f"{output.seconds(each['seconds'])}: emu logs --request {each['request']}"
        output.out.print(f"{'slowest':<10}{shown}", markup=False)
    if not summary["trustworthy"]:
        late = output.seconds(summary["late_s"]["p99"])
        output.note(f"the generator itself was {late} late at p99: ask for less", style="yellow")
