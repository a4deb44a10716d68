"""Models that are no general ones: a kind brings them, or an installed package."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from typing import Any

import pytest

from emu import extensions
from emu.checks import check, registry
from emu.checks.history import Recorder
from emu.checks.registry import models_of
from emu.checks.shapes import shape_of
from emu.extensions import ExtensionError
from nodes.history import Found, Model
from nodes.kind import Kind


def each_number_once(operations: Sequence[Any]) -> Iterator[Found]:
    seen: dict[int, Any] = {}
    for each in operations:
        if each.is_ok and each.result in seen:
            yield Found(f"{each.result} came twice", (seen[each.result], each))
        seen[each.result] = each


TICKETS = Model(each_number_once, operations=("take",))


@dataclass(frozen=True)
class NoConfig:
    """Nothing to say."""


def kind(**models: Model) -> Kind:
    return Kind(NoConfig, lambda ctx, config: None, models=models)  # type: ignore[arg-type, return-value]


def history(*numbers: int) -> Recorder:
    recorder = Recorder(lambda: 0.0)
    for number in numbers:
        recorder.invoke("a", "take", model="tickets").ok(number)
    return recorder


def test_a_kinds_own_model_judges_its_histories() -> None:
    models = models_of([kind(tickets=TICKETS)])
    assert check(history(1, 2).operations, "tickets", models=models).valid is True
    found = check(history(1, 2, 1).operations, "tickets", models=models)
    assert [str(each) for each in found.anomalies] == ["tickets: 1 came twice"]
    with pytest.raises(ValueError, match=r"no checker is called `tickets`; there are: register"):
        check(history(1).operations, "tickets")


def test_a_weaker_promise_of_a_models_own_is_known_by_its_name() -> None:
    models = {"tickets": Model(each_number_once, weaker={"any": lambda operations: ()})}
    twice = history(1, 1).operations
    assert check(twice, "tickets", guarantee="any", models=models).valid is True
    with pytest.raises(ValueError, match=r"no guarantee `some`; there are: .*any"):
        check(twice, "tickets", guarantee="some", models=models)


def test_a_file_may_hold_only_the_operations_that_the_model_names() -> None:
    assert shape_of("tickets", TICKETS.operations)("invoke", "take", None) == ""
    assert "no operation of the model tickets" in shape_of("tickets", ("take",))("ok", "give", 1)
    assert shape_of("tickets")("ok", "give", 1) == ""


def test_two_models_of_one_name_are_refused() -> None:
    assert list(models_of([kind(tickets=TICKETS), kind(tickets=TICKETS)])) == ["tickets"]
    for other in ({"tickets": Model(each_number_once)}, {"bank": TICKETS}):
        with pytest.raises(ExtensionError, match="two models are called"):
            models_of([kind(tickets=TICKETS), kind(**other)])


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("tickets", "tests.checks.test_registry:TICKETS", ""),
        ("tickets", "tests.checks.test_registry:NoConfig", "is no Model"),
        ("tickets", "tests.checks.no_such:THING", "ModuleNotFoundError"),
        ("bank", "tests.checks.test_registry:TICKETS", "the name is taken"),
    ],
)
def test_an_installed_package_names_its_model_by_an_entry_point(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, complaint: str
) -> None:
    entry = EntryPoint(name, value, registry.CHECKERS)
    monkeypatch.setattr(extensions, "entry_points", lambda group: [entry])
    registry.installed_models.cache_clear()
    try:
        if complaint:
            with pytest.raises(ExtensionError, match=complaint):
                models_of([])
        else:
            assert models_of([]) == {"tickets": TICKETS}
    finally:
        registry.installed_models.cache_clear()
