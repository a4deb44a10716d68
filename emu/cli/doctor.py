"""`emu doctor`: what is wrong with a running cluster, why, and what mends it."""

from __future__ import annotations

from typing import Any, Final

import typer
from rich.text import Text

from emu.cli import output
from emu.cli.attach import ClusterOption, JsonOption, ask

STYLES: Final = {"critical": "bold red", "warning": "bold yellow", "note": "bold"}


def doctor(cluster: ClusterOption = "", as_json: JsonOption = False) -> None:
    """Look at a running cluster: what is wrong, why, and the command that mends it.

    The gravest first: groups that nobody leads, nodes that are down, alerts that fire, full disks,
    faults that are active. Exits 1 where something is critical.
    """
    found: list[dict[str, Any]] = ask(cluster, "doctor")
    if as_json:
        output.result(found)
    else:
        if not found:
            output.note("nothing is wrong", style="green")
        for each in found:
            output.out.print(_told(each), soft_wrap=True)
    if any(each["severity"] == "critical" for each in found):
        raise typer.Exit(output.FAILURE)


def _told(finding: dict[str, Any]) -> Text:
    """What, below it why, below that what to do."""
    severity = finding["severity"]
    text = Text(f"{severity:<9}", style=STYLES.get(severity, "bold"))
    text.append(finding["what"], style="bold")
    text.append(f"\n         because  {finding['why']}", style="not bold dim")
    text.append(f"\n         mend it  {finding['mend']}", style="not bold cyan")
    return text
