"""Alerts in virtual time: `expect:` holds a run to what fires, how soon, and that it clears."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import emu
from emu.model import expectations
from emu.seeds.run import SeedRun, simulate_seed
from emu.topology.loading import loads

FILE = """
name: alerts
tiers:
  db: {kind: database, nodes: 3, detection_timeout: 2s, public: true, restart: on-failure}
expect:
EXPECT
"""
EXPECTED = {
    "alert NoPrimary fires within 5s of kill": True,
    "alert EmuNodeDown fires within 2s": True,
    "alert NodeDown fires": True,
    "alert NodeDown clears": True,
    "alert CpuQueue never fires": True,
    "alert NoPrimary fires within 10ms of kill": False,
    "alert NoPrimary fires within 5s of pause": False,
    "alert NodeDown never fires": False,
    "alert CpuQueue fires": False,
    "alert CpuQueue clears": False,
}


async def script(c: emu.Scenario) -> dict[str, Any]:
    await c.sleep(10)
    await c.kill("db primary", for_s=8)
    fired = await c.until("alert firing", alert="EmuNoPrimary")
    assert fired["why"] == "db has no primary: nobody can write"
    await c.until("alert cleared", alert="EmuNoPrimary")
    await c.sleep(2)
    return await c.finish()


def test_a_run_is_held_to_what_its_file_says_of_alerts() -> None:
    lines = "\n".join(f"  - {line}" for line in EXPECTED)
    summary = emu.run(script, loads(FILE.replace("EXPECT", lines)), seed=3)
    held = {each["text"]: each["held"] for each in summary["expectations"]}
    assert list(held.values()) == list(EXPECTED.values()), held
    assert [each["told"] for each in summary["expectations"] if not each["held"]] == [
        "it fired after 1 s", "it never fired", "it fired 1 times", "it never fired",
        "it never fired",
    ]  # fmt: skip
    assert {each["alert"] for each in summary["alerts"]} >= {"EmuNoPrimary", "EmuNodeDown"}


def test_what_the_files_own_faults_set_off_is_expected_where_they_come(tmp_path: Path) -> None:
    """Every seed of `emu sim 12 --faults planned` failed: nothing is killed there."""
    file = tmp_path / "alerts.yaml"
    lines = ["alert NodeDown fires within 2s of kill", "alert NodeDown clears", "errors <= 9",
             "alert CpuQueue never fires"]  # fmt: skip
    text = FILE.replace("EXPECT", "\n".join(f"  - {line}" for line in lines))
    file.write_text(f"{text}faults: [{{at: 1s, kill: one db, for: 1500ms}}]\n")
    judged = {}
    for faults in ("timeline", "none", "swarm"):
        outcome = simulate_seed(SeedRun(str(file), 1, for_s=4.0, faults=faults))
        assert outcome.error is None
        judged[faults] = [each["text"] for each in outcome.value["expectations"]]
    assert judged == {"timeline": lines, "none": lines[2:], "swarm": []}


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("alert NoPrimry fires", "did you mean `NoPrimary`"),
        ("alert NoPrimary", "write `alert NAME fires within 10s`"),
        ("alert NoPrimary fires within 10", "10s"),
        ("alert NoPrimary never fires within 10s", "no expectation"),
    ],
)
def test_a_line_about_an_alert_that_is_none_says_what_to_write(line: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        expectations.parse(line)


def test_every_line_about_an_alert_is_read_back_as_it_is_shown() -> None:
    for line in EXPECTED:
        shown = str(expectations.parse(line))
        assert str(expectations.parse(shown)) == shown
