"""`emu new`: a topology of one's own, from a few answers or from one that ships. What is asked and
written is in topologies/new.txt."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from emu.cli import output
from emu.topology import shipped

if TYPE_CHECKING:
    from emu.topology.drafting import Draft, Question


def complete_shipped(incomplete: str) -> list[str]:
    """For the shell: the topologies that ship."""
    return [name for name in shipped.names() if name.startswith(incomplete)]


FileArgument = Annotated[
    str, typer.Argument(metavar="[FILE]", help="What to write; none: as the site is called.")
]
AnswersArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[QUESTION=ANSWER]...",
        help="What is not to be asked: site, web, db, ack, store, users (web=5).",
        show_default=False,
    ),
]
FromOption = Annotated[
    str,
    typer.Option(
        "--from",
        metavar="STEP",
        help="Copy a topology that ships: 04, full.",
        autocompletion=complete_shipped,
    ),
]


def new(file: FileArgument = "", answers: AnswersArgument = None, step: FromOption = "") -> None:
    """Write a topology file of your own, with a comment at each line.

    On a terminal it asks a few questions; in a pipe what is not answered is as it mostly is.
    """
    given = list(answers or [])
    if "=" in file:
        file, given = "", [file, *given]
    if step and given:
        output.fail(f"--from {step} takes no answers: change the file afterwards", output.USAGE)
    path, text = _copied(step, file) if step else _drafted(file, given)
    _write(path, text)


def _copied(step: str, file: str) -> tuple[Path, str]:
    source = shipped.find(step)
    if source.parent != shipped.FOLDER:
        known = ", ".join(shipped.names())
        output.fail(f"--from: no topology that ships is called `{step}`; there are {known}",
                    output.USAGE)  # fmt: skip
    path = Path(file or source.name)
    text = source.read_text("utf-8").replace(f"topologies/{source.name}", str(path))
    return path, re.sub(r"^name: .*$", f"name: {_name_of(path)}", text, flags=re.MULTILINE)


def _name_of(path: Path) -> str:
    return re.sub(r"[^a-z0-9]+", "-", path.stem.lower()).strip("-") or "topology"


def _drafted(file: str, given: list[str]) -> tuple[Path, str]:
    from emu.topology import drafting  # with pydantic: other verbs need it not

    draft = drafting.read(shipped.DRAFT.read_text("utf-8"))
    answers = _said(draft, given)
    if sys.stdin.isatty() and sys.stderr.isatty():
        for question in draft.questions:
            if question.name not in answers:
                answers[question.name] = _asked(question)
    unsaid = [each for each in draft.questions if each.name not in answers]
    if unsaid:
        shown = " ".join(f"{each.name}={each.default}" for each in unsaid)
        output.note(f"not asked, as this is no terminal: {shown}")
        answers |= {each.name: each.default for each in unsaid}
    path = Path(file or f"{answers[draft.questions[0].name]}{shipped.SUFFIX}")
    return path, draft.written(answers, str(path))


def _said(draft: Draft, given: list[str]) -> dict[str, str]:
    """The answers of the command line."""
    questions = {each.name: each for each in draft.questions}
    answers = {}
    for word in given:
        name, found, answer = word.partition("=")
        if not found or name not in questions:
            known = ", ".join(f"{each.name}={each.default}" for each in draft.questions)
            output.fail(f"`{word}` answers no question; write for example {known}", output.USAGE)
        try:
            answers[name] = questions[name].checked(answer)
        except ValueError as error:
            output.fail(str(error), output.USAGE)
    return answers


def _asked(question: Question) -> str:
    output.note(question.text)
    while True:
        said: str = typer.prompt(_prompt(question), default=question.default, err=True)
        try:
            return question.checked(said)
        except ValueError as error:
            output.note(str(error), "yellow")


def _prompt(question: Question) -> str:
    choices = f" ({', '.join(question.choices)})" if question.choices else ""
    return f"  {question.name}{choices}"


def _write(path: Path, text: str) -> None:
    from emu.model.problems import TopologyError
    from emu.topology.loading import loads

    try:
        made = loads(text, path=path)
    except TopologyError as error:
        output.fail(str(error), output.INVALID_TOPOLOGY)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        output.fail(f"{path} is there already; name another file", output.USAGE)
    except OSError as error:
        output.fail(f"cannot write {path}: {error.strerror}", output.USAGE)
    count = len(made.placements())
    output.note(f"{path}: {count} nodes in {len(made.tiers)} tiers. Next:")
    _tell({
        f"up {path}": "bring it up; again, when the file has changed: it changes what runs",
        f"config {path}": "what is wrong with it, once you have changed it",
        "explain": "every word that may stand in it",
    })  # fmt: skip


def _tell(commands: Mapping[str, str]) -> None:
    emu = output.command_name()
    width = max(map(len, commands))
    for command, why in commands.items():
        output.note(f"  {emu} {command:<{width}}  {why}")
