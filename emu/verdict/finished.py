"""A run's summary in a script's or a test's hands: what it was expected to be, asserted so that a
failure names the writes and anomalies, and not only their number."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from emu.model import expectations
from emu.verdict.summary import LOST

MAX_NAMED: Final = 20
"""Lost writes that a failed assertion names."""


class Finished(dict[str, Any]):
    """What `Scenario.finish` answers: the summary (its keys are in summary.py)."""

    def expect(self, *lines: str) -> None:
        """Hold the run to `availability >= 99%` and the like, and to having no anomaly. Raises
        AssertionError that says what was, by name; ValueError for a line that is none."""
        __tracebackhide__ = True
        wanted = [expectations.parse(line) for line in lines]
        broken = [each for each in expectations.evaluate(wanted, self) if not each["held"]]
        problems = [*map(expectations.missed, broken), *_anomalies(self)]
        if problems:
            losses = any(each["text"].startswith(LOST) for each in broken)
            raise AssertionError("\n".join([*problems, *(named_losses(self) if losses else ())]))


def heading(anomaly: Mapping[str, Any]) -> str:
    """An anomaly in a line."""
    return f"{anomaly['kind']}: {anomaly['text']}"


def _anomalies(summary: Mapping[str, Any]) -> Iterator[str]:
    for each in summary["anomalies"]:
        yield heading(each)
        yield from (f"    {operation}" for operation in each["operations"])


def named_losses(summary: Mapping[str, Any]) -> Iterator[str]:
    """The acknowledged writes that are gone, a line each; how many more there are."""
    lost = summary["lost_writes"]
    for each in lost[:MAX_NAMED]:
        yield (
            f"  lost: {each['value']} ({each['key']}), acknowledged at "
            f"{each['acknowledged_s']:.3f} s to {each['clients']}"
        )
    more = (summary[LOST] or 0) - min(len(lost), MAX_NAMED)
    if more > 0 and lost:
        yield f"  and {more} more"


def told(summary: Mapping[str, Any]) -> list[str]:
    """What was wrong with a run, for whoever looks at a failed test; nothing where nothing was."""
    return [*_anomalies(summary), *named_losses(summary)]
