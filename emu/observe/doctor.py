"""What is wrong with a running cluster, why, and the command that mends it, the gravest first.

Pure: made of a status (status.py), of what fires, and of what is told of each node.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from emu.running.instance import STATES

GRAVE, BAD, ODD = "critical", "warning", "note"
ORDER: Final = (GRAVE, BAD, ODD)
MAX_FINDINGS: Final = 50
MENDS: Final = {
    "paused": "unpause", "killed": "start", "crashed": "start", "stopped": "start",
    "down": "start", "failed": "start",
}  # fmt: skip
"""State of a node → the verb that ends it."""
OWN_ALERTS: Final = ("EmuNodeDown", "EmuNoPrimary")
"""Alerts that say what is found here by itself, and better."""
BUSY_ALERTS: Final = ("EmuStarved", "EmuLoopSaturated")
"""Those that say of this computer what a status does, where it is not to be trusted."""


class Finding(NamedTuple):
    """Something that is not as it should be."""

    severity: str
    what: str
    why: str
    mend: str
    """A command, or what to do."""


def examine(status: Mapping[str, Any], alerts: Sequence[Mapping[str, Any]]) -> list[Finding]:
    """All that is wrong; nothing where nothing is."""
    known = OWN_ALERTS if status["trustworthy"] else (*OWN_ALERTS, *BUSY_ALERTS)
    found = [
        *_leaderless(status),
        *_nodes(status),
        *_alerts([each for each in alerts if each["alert"] not in known]),
        *_faults(status),
        *_doubts(status),
    ]
    return sorted(found, key=lambda each: ORDER.index(each.severity))[:MAX_FINDINGS]


def _leaderless(status: Mapping[str, Any]) -> Iterator[Finding]:
    """`db has no primary: 1 of 3 voters up`."""
    for text in status["leaderless"]:
        what, _, why = text.partition(": ")
        tier = what.split()[0].strip("`")
        yield Finding(GRAVE, what, why, f"emu ps {tier}; start those of it that are down")


def _nodes(status: Mapping[str, Any]) -> Iterator[Finding]:
    fault_of = {
        name: fault
        for fault in status["faults"]
        for name in fault["text"].replace("(", " ").replace(")", " ").replace(",", " ").split()
    }
    for node in status["nodes"]:
        name, state = node["name"], node["state"]
        if state in MENDS:
            fault = fault_of.get(name)
            mend = f"emu heal {fault['number']}" if fault else f"emu {MENDS[state]} {name}"
            yield Finding(BAD, f"{name} is {state}", node["error"] or STATES[state], mend)
        if node.get("disk") == "full":
            why = "records wait in memory until there is room; writes are refused"
            mend = "emu heal, or more `capacity` for its disk"
            yield Finding(GRAVE, f"the disk of {name} is full", why, mend)


def _alerts(alerts: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    for each in alerts:
        if each["state"] == "firing":
            why = f"{each['description']} ({each['alert']} fires for {each['for_s']:.0f} s)"
            severity = each["severity"] if each["severity"] in ORDER else BAD
            yield Finding(severity, each["summary"], why, each["mend"])


def _faults(status: Mapping[str, Any]) -> Iterator[Finding]:
    for fault in status["faults"]:
        since_s = status["time_s"] - fault["since_s"]
        why = f"it was injected {since_s:.0f} s ago"
        if fault["until_s"] is not None:
            why += f", and ends in {max(0.0, fault['until_s'] - status['time_s']):.0f} s"
        what = f"a fault is active: {fault['text']}"
        yield Finding(ODD, what, why, f"emu heal {fault['number']}")


def _doubts(status: Mapping[str, Any]) -> Iterator[Finding]:
    if not status["trustworthy"]:
        what = "this computer is too busy to believe any time that is shown"
        mend = "fewer nodes or users, or end other programs"
        yield Finding(ODD, what, "; ".join(status["reasons"]), mend)
