"""`emu promote`: a planned switchover of a database, and what came of it."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from emu.cli import output
from emu.cli.attach import ClusterOption, JsonOption, ask, complete_target
from emu.observe.shown import duration

KEYS = ("tier", "old", "new", "epoch", "writes_waited_s")


def promote(
    tier: Annotated[str, typer.Argument(metavar="TIER", autocompletion=complete_target)],
    node: Annotated[
        str,
        typer.Argument(
            metavar="[NODE]",
            help="Who shall be primary; none: whoever fits best.",
            autocompletion=complete_target,
            show_default=False,
        ),
    ] = "",
    cluster: ClusterOption = "",
    as_json: JsonOption = False,
) -> None:
    """Let another node of a database be primary. Writes wait a moment, and none is lost."""
    told: dict[str, Any] = ask(cluster, "promote", f"{tier} {node}".strip(), timeout_s=None)
    if as_json:
        output.result({key: told[key] for key in KEYS})
        return
    waited = duration(told["writes_waited_s"])
    output.out.print(
        f"{told['old']} → {told['new']}, epoch {told['epoch']}; writes waited {waited}"
    )
