"""Joins the verbs to one command. Each group of them has a thin module of its own."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Annotated, Final

import typer

from emu.cli import (
    alerts,
    attaching,
    check,
    clusters,
    compare,
    doctor,
    explain,
    exporting,
    faulting,
    files,
    helping,
    joining,
    loading,
    merge,
    new,
    nodes,
    observing,
    operating,
    output,
    plan,
    reporting,
    simulate,
    sql,
    steps,
    top,
    tracing,
    up,
    why,
)
from emu.cli.spoken import Spoken, spoken

app = typer.Typer(
    cls=operating.Verbs,
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    help="A whole scaled-out website on one laptop, from one file: break it, watch it, replay it.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
RUN = "Run"
WATCH = "Watch"
PROVE = "Prove"
RUN_VERBS: tuple[Callable[..., None], ...] = (up.up, clusters.down, joining.node,
                                              attaching.attach, exporting.export,
                                              steps.steps,
                                              new.new, files.config,
                                              explain.explain,
                                              clusters.clusters)  # fmt: skip
WATCH_VERBS: tuple[Callable[..., None], ...] = (nodes.ps, nodes.url, top.top,
                                                nodes.events, nodes.logs,
                                                alerts.alerts, doctor.doctor,
                                                clusters.summary, nodes.call, why.why,
                                                sql.sql, loading.load,
                                                observing.observe,
                                                observing.dashboards,
                                                reporting.report)  # fmt: skip
PROVE_VERBS: tuple[Callable[..., None], ...] = (simulate.sim, merge.merge, compare.compare,
                                                plan.plan, tracing.trace, check.check)  # fmt: skip
EXAMPLES: Final = (
    "emu up 04 --for 30s --report run.html",
    "emu down --all",
    "emu node web-1 --join 127.0.0.1:7070",
    "emu attach shop -- kubectl -n shop exec -i emu-0 -- emu bridge shop",
    "emu export kubernetes 04 --out shop",
    "emu steps",
    "emu new shop.yaml web=5 ack=async",
    "emu config shop.yaml",
    "emu explain kind web",
    "emu clusters",
    "emu ps db",
    "emu url lb",
    "emu top",
    "emu events -f db",
    "emu logs web-1 -f",
    "emu alerts",
    "emu doctor",
    "emu summary",
    "emu call web-1 ping",
    "emu why / --from eu-west",
    "emu sql db -c 'SELECT count(*) FROM posts'",
    "emu load lb --rate 200/s --for 10s",
    "emu observe",
    "emu dashboards",
    "emu report -o run.html",
    "emu sim 04 --seeds 100",
    "emu merge part-1.json part-2.json",
    "emu compare 05 --set db.ack=async",
    "emu plan 04 --users 10M",
    "emu trace 05 --seed 7",
    "emu check history.jsonl --model register",
)
"""One of each verb."""


def _add(verb: Callable[..., None], panel: str, cls: type[Spoken] = Spoken) -> None:
    name = verb.__name__
    example = next(each for each in EXAMPLES if each.split()[1] == name)
    epilog = f"{explain.EXAMPLE}{example}"
    told = helping.help_of(verb.__doc__ or "")
    app.command(name, cls=cls, epilog=epilog, rich_help_panel=panel, **told)(verb)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        python = ".".join(map(str, sys.version_info[:3]))
        output.line(f"emu {version('emu')} (Python {python}, Trio {version('trio')})")
        raise typer.Exit


@app.callback()
def emu(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Say which emu this is."),
    ] = False,
) -> None:
    """What is true of every verb."""


for each in RUN_VERBS:
    _add(each, RUN, spoken("command") if each is attaching.attach else Spoken)
for each in WATCH_VERBS:
    _add(each, WATCH, nodes.TakesNumbers if each is nodes.call else Spoken)
app.command("bridge", cls=Spoken, hidden=True, epilog=f"{explain.EXAMPLE}emu bridge shop")(
    attaching.bridge
)
faulting.register(app)
for each in PROVE_VERBS:
    _add(each, PROVE)
