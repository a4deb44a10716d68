"""`emu doctor`: what is wrong, why, and the command that mends it, the gravest first."""

from __future__ import annotations

from typing import Any

from emu.observe.doctor import Finding, examine


def status(**fields: Any) -> dict[str, Any]:
    return {"time_s": 100.0, "leaderless": [], "nodes": [], "faults": [], "trustworthy": True,
            "reasons": [], **fields}  # fmt: skip


def node(name: str, state: str, **facts: Any) -> dict[str, Any]:
    return {"name": name, "state": state, "error": "", **facts}


def firing(alert: str, severity: str = "warning") -> dict[str, Any]:
    return {"alert": alert, "state": "firing", "severity": severity, "for_s": 7.0,
            "summary": "web-1 is behind", "description": "Too much is asked.",
            "mend": "`emu cpu web-1 --cores 2`"}  # fmt: skip


def test_nothing_is_wrong_with_a_cluster_that_is_well() -> None:
    assert examine(status(nodes=[node("web-1", "up")]), []) == []


def test_a_group_that_nobody_leads_comes_before_a_node_that_is_paused() -> None:
    nodes = [node("web-1", "paused"), node("db-1", "failed", error="OSError: no room")]
    found = examine(status(nodes=nodes, leaderless=["db has no primary: 1 of 3 voters up"]), [])
    assert found[0] == Finding(
        "critical", "db has no primary", "1 of 3 voters up",
        "emu ps db; start those of it that are down",
    )  # fmt: skip
    assert [each.mend for each in found[1:]] == ["emu unpause web-1", "emu start db-1"]
    assert found[2].why == "OSError: no room"


def test_what_a_fault_broke_is_mended_by_healing_it() -> None:
    fault = {"number": 4, "text": "kill web-2 (one web)", "since_s": 90.0, "until_s": 110.0}
    found = examine(status(nodes=[node("web-2", "killed")], faults=[fault]), [])
    assert [each.mend for each in found] == ["emu heal 4", "emu heal 4"]
    assert found[1].why == "it was injected 10 s ago, and ends in 10 s"


def test_alerts_are_told_but_those_that_say_the_same_as_a_finding() -> None:
    pending = {**firing("EmuLinkQueue"), "state": "pending"}
    alerts = [firing("EmuNodeDown"), firing("EmuCpuQueue"), pending, firing("Own", "page")]
    found = examine(status(), alerts)
    assert [(each.severity, each.why) for each in found] == [
        ("warning", "Too much is asked. (EmuCpuQueue fires for 7 s)"),
        ("warning", "Too much is asked. (Own fires for 7 s)"),
    ]  # fmt: skip
    assert {each.mend for each in found} == {"`emu cpu web-1 --cores 2`"}


def test_a_full_disk_and_a_busy_computer_are_told() -> None:
    found = examine(
        status(nodes=[node("db-1", "up", disk="full")], trustworthy=False, reasons=["late"]),
        [firing("EmuStarved")],
    )
    assert [each.severity for each in found] == ["critical", "note"]
    assert found[0].what == "the disk of db-1 is full"
