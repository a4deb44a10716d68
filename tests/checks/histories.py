"""Small histories for tests, in one line per event: `invoke("a", "write", 5)`, `ok("a")`."""

from __future__ import annotations

from typing import Any, NamedTuple

from emu.checks import CheckResult, check
from emu.checks.history import Operation, Recorder


class Event(NamedTuple):
    process: str
    kind: str
    f: str = ""
    value: Any = None
    key: Any = None


def invoke(process: str, f: str, value: Any = None, key: Any = None) -> list[Event]:
    return [Event(process, "invoke", f, value, key)]


def ok(process: str, value: Any = None) -> list[Event]:
    return [Event(process, "ok", value=value)]


def fail(process: str, reason: str = "refused") -> list[Event]:
    return [Event(process, "fail", value=reason)]


def info(process: str) -> list[Event]:
    return [Event(process, "info")]


def did(process: str, f: str, value: Any = None, answer: Any = None, key: Any = None):
    """Invoked, and done before anything else happens."""
    return invoke(process, f, value, key) + ok(process, answer)


def saw(process: str, f: str, answer: Any = None, key: Any = None) -> list[Event]:
    """A read of some sort, answered before anything else happens."""
    return did(process, f, None, answer, key)


def recorded(*parts: list[Event], model: str = "register") -> Recorder:
    """A history whose n-th event (from 1) happened at n seconds."""
    time_s = 0.0
    recorder = Recorder(lambda: time_s)
    running: dict[str, Operation] = {}
    for event in (event for part in parts for event in part):
        time_s += 1.0
        if event.kind == "invoke":
            running[event.process] = recorder.invoke(
                event.process, event.f, event.value, event.key, model=model
            )
        elif event.kind == "ok":
            running.pop(event.process).ok(event.value)
        elif event.kind == "fail":
            running.pop(event.process).fail(event.value)
        else:
            running.pop(event.process).info("timeout")
    return recorder


def checked(*parts: list[Event], model: str, guarantee: str = "") -> CheckResult:
    return check(recorded(*parts, model=model).operations, model, guarantee=guarantee)


def anomaly(*parts: list[Event], model: str, guarantee: str = "") -> str:
    """The text of the only anomaly there is."""
    found = checked(*parts, model=model, guarantee=guarantee)
    assert found.valid is False and len(found.anomalies) == 1, found
    return found.anomalies[0].text


def is_valid(*parts: list[Event], model: str, guarantee: str = "") -> bool:
    found = checked(*parts, model=model, guarantee=guarantee)
    assert not found.unknown, found
    return not found.anomalies
