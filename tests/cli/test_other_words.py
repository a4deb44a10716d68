"""Words of other tools: whoever types one hears what it is called here."""

from __future__ import annotations

import typer
from typer.testing import CliRunner

from emu.cli.operating import ELSEWHERE
from emu.cli.verbs import app


def test_a_word_of_another_tool_is_answered_with_ours() -> None:
    result = CliRunner().invoke(app, ["validate", "mine.yaml"])
    assert result.exit_code == 2
    assert "What you look for is `emu config`." in result.output


def test_every_such_word_is_none_of_ours_and_leads_to_one() -> None:
    command = typer.main.get_command(app)
    with command.make_context("emu", ["--version"], resilient_parsing=True) as context:
        verbs = command.list_commands(context)
    assert not set(ELSEWHERE) & set(verbs)
    assert set(ELSEWHERE.values()) <= set(verbs)


def test_whoever_checks_a_topology_hears_which_verb_does() -> None:
    result = CliRunner().invoke(app, ["check", "mine.yaml"])
    assert result.exit_code == 2
    assert "emu config mine.yaml" in result.output
