"""Joins the verbs to one command. Each group of them has a thin module of its own."""

from __future__ import annotations

from collections.abc import Callable

import typer

from emu.cli import (
    check,
    clusters,
    faulting,
    files,
    loading,
    new,
    nodes,
    observing,
    operating,
    reporting,
    simulate,
    sql,
    top,
    tracing,
    up,
)

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
RUN_VERBS: tuple[Callable[..., None], ...] = (up.up, clusters.down, new.new, files.config,
                                              clusters.clusters)  # fmt: skip
WATCH_VERBS: tuple[Callable[..., None], ...] = (nodes.ps, nodes.url, top.top,
                                                nodes.events, nodes.logs,
                                                clusters.summary, nodes.call, sql.sql, loading.load,
                                                observing.observe,
                                                observing.dashboards,
                                                reporting.report)  # fmt: skip
PROVE_VERBS: tuple[Callable[..., None], ...] = (simulate.sim, tracing.trace, check.check)
for verb in RUN_VERBS:
    app.command(verb.__name__, rich_help_panel=RUN)(verb)
for verb in WATCH_VERBS:
    takes_numbers = nodes.TakesNumbers if verb is nodes.call else None
    app.command(verb.__name__, cls=takes_numbers, rich_help_panel=WATCH)(verb)
faulting.register(app)
for verb in PROVE_VERBS:
    app.command(verb.__name__, rich_help_panel=PROVE)(verb)
