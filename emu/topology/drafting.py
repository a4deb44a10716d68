"""A topology from a few answers, for `emu new`: questions and text are in a file that ships
(topologies/new.txt), so that nothing here knows a tier.

A question is `? NAME WHAT DEFAULT TEXT`, where WHAT is `name`, `1-50` or `yes|no`; below `---`
stands the text, with `$NAME` in it and lines between `%if NAME OP VALUE [and ...]` and `%end`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from string import Template
from typing import Final

from emu.topology.tiers import MAX_NAME, NAME
from protocols.numerals import whole

END_OF_QUESTIONS: Final = "---"
FILE: Final = "file"
"""What the text calls the file that is written."""
IF, END = "%if ", "%end"
COMMENT: Final = "  # "
"""Between what a line says and why."""


@dataclass(frozen=True, slots=True)
class Question:
    """Something to be said of a new topology."""

    name: str
    what: str
    default: str
    text: str

    @property
    def choices(self) -> tuple[str, ...]:
        return tuple(self.what.split("|")) if "|" in self.what else ()

    def checked(self, answer: str) -> str:
        """The answer as it stands in the file. Raises ValueError."""
        answer = answer.strip()
        if self.choices:
            if answer not in self.choices:
                raise ValueError(f"`{self.name}` is {' or '.join(self.choices)}, not `{answer}`")
            return answer
        if self.what == "name":
            if not NAME.fullmatch(answer) or len(answer) > MAX_NAME:
                raise ValueError(f"`{self.name}`: `{answer[:60]}` is no name; write lower-case "
                                 f"letters, digits and dashes, at most {MAX_NAME}")  # fmt: skip
            return answer
        least, _, most = self.what.partition("-")
        number = whole(answer)
        if number is None or not int(least) <= number <= int(most):
            raise ValueError(f"`{self.name}` is from {least} to {most}, not `{answer[:60]}`")
        return str(number)


@dataclass(frozen=True, slots=True)
class Draft:
    """Questions, and the text that their answers make a topology."""

    questions: tuple[Question, ...]
    lines: tuple[str, ...]

    def written(self, answers: Mapping[str, str], file: str) -> str:
        """The file's text, by an answer to every question."""
        said = {**answers, FILE: file}
        return "".join(f"{_filled(line, said)}\n" for line in self._kept(answers))

    def _kept(self, answers: Mapping[str, str]) -> Iterator[str]:
        keeps = True
        for line in self.lines:
            if line.startswith(IF):
                keeps = _holds(line.removeprefix(IF), answers)
            elif line == END:
                keeps = True
            elif keeps:
                yield line


def read(text: str) -> Draft:
    """A draft as it ships."""
    lines = text.splitlines()
    at = lines.index(END_OF_QUESTIONS)
    asked = [line.split(maxsplit=4) for line in lines[:at]]
    questions = tuple(Question(name, what, default, told) for _, name, what, default, told in asked)
    return Draft(questions, tuple(lines[at + 1 :]))


def _filled(line: str, said: Mapping[str, str]) -> str:
    """With the answers in it, and its comment where it was."""
    before, comment, text = line.partition(COMMENT)
    if not comment or not before.strip("# "):
        return Template(line).substitute(said)
    at = len(before) + len(COMMENT) - 2
    filled = [Template(part).substitute(said) for part in (before, text)]
    return f"{filled[0].rstrip():<{at}}# {filled[1]}"


def _holds(condition: str, answers: Mapping[str, str]) -> bool:
    for each in condition.split(" and "):
        name, operator, value = each.split()
        said = answers[name]
        if not (said == value if operator == "==" else int(said) > int(value)):
            return False
    return True
