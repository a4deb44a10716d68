"""The `emu` command. Each group of verbs has a thin module; this one only joins them."""

from __future__ import annotations

from collections.abc import Callable

import typer

from emu.cli import faulting, nodes, run

app = typer.Typer(
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    help="A whole scaled-out website on one laptop, from one file: break it, watch it, replay it.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
RUN = "Run"
WATCH = "Watch"
RUN_VERBS: tuple[Callable[..., None], ...] = (run.up, run.down, run.config, run.clusters)
for verb in RUN_VERBS:
    app.command(verb.__name__, rich_help_panel=RUN)(verb)
WATCH_VERBS: tuple[Callable[..., None], ...] = (
    nodes.ps,
    nodes.events,
    nodes.logs,
    run.summary,
    nodes.call,
)
for verb in WATCH_VERBS:
    app.command(verb.__name__, rich_help_panel=WATCH)(verb)
faulting.register(app)


def main() -> None:
    """The console script."""
    app()
