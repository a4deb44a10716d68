"""A word with nothing in it, as a shell's unset variable leaves, says what is missing: every option
and every argument of every verb, as the command itself lists them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import typer
from typer.core import TyperGroup, TyperOption

from emu.cli.verbs import app

ANY_TEXT = {("call", "params"), ("attach", "command"), ("queue publish", "value")}
"""Somebody's text, which may be empty."""


def commands() -> Iterator[tuple[str, Any]]:
    command = typer.main.get_command(app)
    with command.make_context("emu", ["x"], resilient_parsing=True) as context:
        yield from _below(command, context, "")


def _below(command: Any, context: Any, path: str) -> Iterator[tuple[str, Any]]:
    if not isinstance(command, TyperGroup):
        yield path, command
        return
    for name in command.list_commands(context):
        below = command.get_command(context, name)
        with below.make_context(name, ["x"], parent=context, resilient_parsing=True) as inner:
            yield from _below(below, inner, f"{path} {name}".strip())


def spoken(command: Any) -> Iterator[Any]:
    """Its parameters that take a value."""
    return (each for each in command.params if not getattr(each, "is_flag", False))


def words_of(command: Any, each: Any, blank: str) -> list[str]:
    """The verb with that parameter blank, and the arguments that it must have."""
    if isinstance(each, TyperOption):
        needed = [a for a in command.params if not isinstance(a, TyperOption) and a.required]
        return [max(each.opts, key=len), blank, *("web" for _ in needed)]
    before = [a for a in command.params if not isinstance(a, TyperOption)]
    return [*("web" for _ in before[: before.index(each)]), blank]


@pytest.fixture(scope="module")
def verbs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EMU_STATE_DIR", str(tmp_path_factory.mktemp("none runs")))
        yield dict(commands())


@pytest.mark.parametrize("blank", ["", " "], ids=["empty", "blank"])
def test_no_option_and_no_argument_of_any_verb_is_said_with_nothing_in_it(
    verbs: dict[str, Any], blank: str, capsys: pytest.CaptureFixture[str]
) -> None:
    cases = [(path, command, each) for path, command in verbs.items() for each in spoken(command)]
    assert len(cases) > 150
    for path, command, each in cases:
        if (path, each.name) not in ANY_TEXT:
            words = words_of(command, each, blank)
            try:
                command.make_context(path, words)
            except typer.Exit as refused:
                assert refused.exit_code == 2, (path, words)
                assert "nothing is said" in capsys.readouterr().err, (path, words)
            except typer.BadParameter:
                pass  # no number, say: the command line says so itself, and ends with 2
            else:
                raise AssertionError(f"{path} {words} is taken")


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("call", ["web", "set", ""]),
        ("attach", ["shop", "--", "ssh", ""]),
        ("queue publish", ["--topic", "t", "--value", ""]),
    ],
)
def test_somebodys_text_may_be_empty(verbs: dict[str, Any], path: str, words: list[str]) -> None:
    with verbs[path].make_context(path, words) as context:
        said = context.params[next(name for verb, name in ANY_TEXT if verb == path)]
        assert (said if isinstance(said, str) else said[-1]) == ""
