"""`emu new`'s draft: whatever is answered, it makes a topology without a mistake or a warning."""

from __future__ import annotations

from itertools import product

import pytest

import emu
from emu.topology import drafting, shipped
from emu.topology.lint import lint, unaccepted
from emu.topology.loading import loads

DRAFT = drafting.read(shipped.DRAFT.read_text("utf-8"))
DEFAULTS = {each.name: each.default for each in DRAFT.questions}


def made(**answers: str) -> str:
    return DRAFT.written({**DEFAULTS, **answers}, "shop.yaml")


@pytest.mark.parametrize(
    ("web", "db", "ack", "store"),
    [*product(("1", "3"), ("1", "3", "5"), ("quorum", "async"), ("no", "yes"))],
)
def test_every_answer_makes_a_sound_topology(web: str, db: str, ack: str, store: str) -> None:
    text = made(web=web, db=db, ack=ack, store=store)
    topology = loads(text, path="shop.yaml")
    assert [str(each) for each in unaccepted(topology)] == []
    warned = {f"{each.code} {each.tier}" for each in lint(topology)}
    assert [word for word in topology.accepts or {} if word not in warned] == []
    assert (len(topology.tier("web").members), len(topology.tier("db").members)) == (
        int(web),
        int(db),
    )
    assert all(len(line) <= 110 for line in text.splitlines())
    tiers = text.partition("\ntiers:")[2].partition("\n\n")[0].splitlines()
    places = {line.index("  # ") + 2 for line in tiers if "  # " in line and "{" not in line}
    assert places == {34}, "comments stand below each other, whatever was answered"


def test_every_question_changes_the_file_and_its_default_is_an_answer() -> None:
    others = {"site": "cafe", "web": "2", "db": "1", "ack": "async", "store": "yes", "users": "9"}
    assert sorted(others) == sorted(DEFAULTS)
    for question in DRAFT.questions:
        assert question.checked(question.default) == question.default
        assert made(**{question.name: others[question.name]}) != made()


@pytest.mark.parametrize(
    ("name", "answer", "why"),
    [
        ("site", "My Shop", "`My Shop` is no name; write lower-case letters, digits and dashes"),
        ("web", "0", "`web` is from 1 to 50, not `0`"),
        ("web", "many", "`web` is from 1 to 50, not `many`"),
        ("db", "2", "`db` is 1 or 3 or 5, not `2`"),
        ("ack", "", "`ack` is quorum or async, not ``"),
    ],
)
def test_an_answer_that_makes_no_sense_says_what_would(name: str, answer: str, why: str) -> None:
    question = next(each for each in DRAFT.questions if each.name == name)
    with pytest.raises(ValueError) as caught:
        question.checked(answer)
    assert why in str(caught.value)


async def a_quiet_run(c: emu.Scenario) -> dict:
    await c.sleep(5)
    return await c.finish()


@pytest.mark.parametrize("answers", [{}, {"web": "1", "db": "1", "ack": "async", "store": "yes"}])
def test_what_it_wrote_runs_and_passes(answers: dict[str, str]) -> None:
    summary = emu.run(a_quiet_run, loads(made(**answers), path="shop.yaml"))
    assert (summary["verdict"], summary["errors"]) == ("passed", 0)
