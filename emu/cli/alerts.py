"""`emu alerts`: what fires in a running cluster, since when, why, and what mends it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.text import Text

from emu.cli import output
from emu.cli.attach import ClusterOption, JsonOption, ask
from emu.observe.shown import duration

if TYPE_CHECKING:
    from emu.alerts.rules import Alert

RulesOption = Annotated[
    bool, typer.Option("--rules", help="List what could fire, with or without a cluster.")
]
STYLES: Final = {"pending": "yellow", "warning": "bold yellow", "critical": "bold red"}


def alerts(
    rules: RulesOption = False, cluster: ClusterOption = "", as_json: JsonOption = False
) -> None:
    """Show which alerts fire, since when, why, and what mends them.

    The rules are those of dashboards/rules/, which a Prometheus takes too; emu evaluates them
    itself. Pending ones fire if they go on.
    """
    if rules:
        _list_rules(as_json)
        return
    found = ask(cluster, "alerts")
    if as_json:
        output.result(found)
        return
    if not found:
        output.note("no alert fires", style="green")
    for each in found:
        output.out.print(_told(each), soft_wrap=True)


def _told(alert: Mapping[str, Any]) -> Text:
    """A line, and below it what it means, and what ends it."""
    state = alert["state"] if alert["state"] == "pending" else alert["severity"]
    line = Text(f"{state:<9}", style=STYLES.get(state, "bold"))
    line.append(f"{alert['alert']} for {duration(alert['for_s'])}: ", style="not bold")
    line.append(alert["summary"], style="bold")
    line.append(f"\n         {alert['description']}", style="not bold dim")
    line.append(f"\n         mend it  {alert['mend']}", style="not bold cyan")
    return line


def _list_rules(as_json: bool) -> None:
    from emu.alerts.rules import Alert, shipped

    found = [rule for rule in shipped() if isinstance(rule, Alert)]
    if as_json:
        output.result([_row(rule) for rule in found])
        return
    table = [
        [rule.name, rule.severity, duration(rule.for_s) if rule.for_s else "", rule.text]
        for rule in found
    ]
    output.table(["alert", "severity", "for", "fires while"], table, STYLES)


def _row(rule: Alert) -> dict[str, Any]:
    return {
        "alert": rule.name,
        "for_s": rule.for_s,
        "severity": rule.severity,
        "expr": rule.text,
        "summary": rule.summary,
        "description": rule.description,
        "mend": rule.mend,
    }
