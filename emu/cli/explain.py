"""`emu explain`: what a word means, told from the code; and the pages of docs/reference."""

from __future__ import annotations

import inspect
import shutil
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple, get_args, get_type_hints

import typer
from rich.text import Text

from emu.cli import output
from emu.cli.attach import JsonOption
from emu.model.problems import hint

if TYPE_CHECKING:
    from emu.reference.entries import Entry

SHARED: Final = ("as_json", "cluster")
"""Parameters that mean the same for every verb."""
LONG: Final = ("event", "metric")
"""Topics that are read off all of the source: a name is looked for there last."""
WIDTH_CHARS: Final = 80
MOST_CHARS: Final = 100
LEAST_BESIDE_CHARS: Final = 40
"""Of room that a text needs to stand beside its name."""
MAX_WHOLE: Final = 3
"""So many things that are called alike are told whole."""
VERB: Final = "verb"
WORD: Final = "word"
EXAMPLE: Final = "Example: "
"""What a verb's help ends with."""
ABOUT: Final = {
    "kind": "What a tier may be, and what it may be told.",
    "section": "What a topology file may say.",
    "fault": "What breaks a cluster, mends it, or is done to it.",
    "target": "Which nodes a word means.",
    "verb": "What `emu` can be told.",
    "event": "What happens in a run: `emu events`, and `on:` of a fault.",
    "metric": "What is counted: `/metrics`, dashboards, `c.metrics(...)`.",
    "expect": "What `expect:` may hold a run to.",
    "alert": "What fires: `emu alerts`, and `alert ... fires` of `expect:`.",
    WORD: "What is read on screens and pages.",
}
EXAMPLES: Final = {
    "kind web": "all that a web tier may be told",
    "web.timeout": "one of its options",
    "web.restart": "what every tier may be told, too",
    "fault slow": "its options, and an example",
    "target": "which nodes `one web`, `db primary`, `minority db` are",
    "quorum": "a word on the screen; so `untrusted`, `lag`, `EmuReplicaLag`",
}


def complete_word(context: typer.Context, incomplete: str) -> list[str]:
    """For the shell: topics, kinds and faults; after a topic what it has, after `web.` options."""
    from emu.model.faults import VERBS
    from emu.model.kinds import known_kinds

    typed, commands = context.params.get("words") or [], context.find_root().command
    owner, dot, _ = incomplete.partition(".")
    words: Iterable[str] = (*ABOUT, *known_kinds(), *VERBS)
    if typed:
        topic = typed[0].removesuffix("s")
        words = [each.name for each in _entries(topic, commands)] if topic in ABOUT else []
        words = [*words, *VERBS] if topic == VERB else words
    elif dot:
        words = [f"{owner}.{option}" for option in options_of(owner, commands)]
    return [word for word in dict.fromkeys(words) if word.startswith(incomplete)]


def options_of(kind: str, commands: Any) -> list[str]:
    """What a tier of that kind may be told; nothing of a kind that is not known."""
    kinds = [each for each in _entries("kind", commands) if each.name == kind]
    return [one.name for each in kinds for one in (*each.options, *_of_every_tier(each))]


Words = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[TOPIC] [NAME]",
        help=f"A topic ({', '.join(ABOUT)}), a name in it, or `web.timeout`.",
        autocompletion=complete_word,
        show_default=False,
    ),
]


def explain(
    context: typer.Context,
    words: Words = None,
    write: Annotated[str, typer.Option("--write", metavar="FOLDER", hidden=True)] = "",
    as_json: JsonOption = False,
) -> None:
    """Explain a kind, option, fault, verb, event, metric, alert, or a word that the screen says."""
    commands = context.find_root().command
    if write:
        _write(Path(write), commands)
        return
    asked = list(words or [])
    if not asked:
        _tell_topics()
        return
    found = _found(asked, commands)
    if not found:
        output.fail(_not_found(asked, commands), output.USAGE)
    if as_json:
        output.result([_as_record(each.topic, each.entry) for each in found])
        return
    whole = found if len(found) <= MAX_WHOLE else [each for each in found if not each.is_option]
    whole = whole if len(whole) <= MAX_WHOLE else []
    for place, each in enumerate(whole):
        topic = f"option of a {each.topic}" if each.is_option else each.topic
        _tell_whole(topic, each.entry, last=place == len(found) - 1)
    if len(whole) < len(found):
        _tell_rows((each.entry.name, each.entry.text) for each in found if each not in whole)


def _not_found(asked: Sequence[str], commands: Any) -> str:
    topic, rest = asked[0].removesuffix("s"), " ".join(asked[1:])
    if topic in ABOUT and rest:
        names = (entry.name for entry in _entries(topic, commands))
        return f"no {topic} is called `{rest}`; {hint(rest, names)}"
    known = [*ABOUT, *(entry.name for each in ABOUT for entry in _entries(each, commands))]
    text = " ".join(asked)
    return f"nothing is called `{text}`; {hint(text, known)}"


def _entries(topic: str, commands: Any) -> list[Entry]:
    from emu.reference.book import TOPICS

    return list(verbs(commands)) if topic == VERB else TOPICS[topic]()


class Found(NamedTuple):
    """A meaning of a word: something of that name, or an option of something."""

    topic: str
    entry: Entry
    is_option: bool = False


def _found(asked: Sequence[str], commands: Any) -> list[Found]:
    """All that is meant: what is called so, then the options that are."""
    topic = asked[0].removesuffix("s") if asked[0].removesuffix("s") in ABOUT else asked[0]
    if topic in ABOUT:
        name = " ".join(asked[1:])
        if not name:
            return [Found(topic, each) for each in _entries(topic, commands)]
        found = _called(name, [topic], commands)
        # what breaks a cluster, and what a tier is told to do, is typed as a verb, too
        return found if found or topic != VERB else _found(["fault", name], commands)
    name = " ".join(asked)
    short = [each for each in ABOUT if each not in (*LONG, WORD)]
    options = _options_called(name, short, commands)
    found = _called(name, short, commands) or _called(name, LONG, commands)
    return _called(name, [WORD], commands) + found + options


def _called(name: str, topics: Iterable[str], commands: Any) -> list[Found]:
    return [Found(one, each) for one in topics for each in _named(_entries(one, commands), name)]


def _options_called(name: str, topics: Iterable[str], commands: Any) -> list[Found]:
    """The options of that name, whoever has them; where several have the same one, once."""
    of: dict[tuple[str, str, str], list[str]] = {}
    found: dict[tuple[str, str, str], Found] = {}
    for topic in topics:
        for entry in _entries(topic, commands):
            for option in entry.options:
                if _alike(option.name, name):
                    same = (topic, option.text, option.default)
                    of.setdefault(same, []).append(entry.name)
                    full = f"{entry.name}{' ' if topic == VERB else '.'}{option.name}"
                    found.setdefault(same, Found(topic, option._replace(name=full), True))
    return [
        each._replace(entry=each.entry._replace(more=f"of: {', '.join(of[same])}"))
        if len(of[same]) > 1
        else each
        for same, each in found.items()
    ]


def _named(entries: Iterable[Entry], name: str) -> Iterator[Entry]:
    """Those of that name; of `web.timeout` that option of `web`."""
    owner, dot, option = name.partition(".")
    for each in entries:
        if _alike(each.name, name):
            yield each
        elif dot and _alike(each.name, owner):
            yield from (
                one._replace(name=f"{owner}.{one.name}")
                for one in [*each.options, *_of_every_tier(each)]
                if _alike(one.name, option)
            )


def _alike(name: str, said: str) -> bool:
    names = (
        name,
        name.removeprefix("emu_"),
        name.removeprefix("Emu"),
        name.replace(" ", "-"),
        name.lstrip("-"),
    )
    return said in names or said.replace("-", "_") == name


def _of_every_tier(entry: Entry) -> Sequence[Entry]:
    """What every kind may be told: options of `kind: ...` that no kind has for itself."""
    from emu.model.kinds import known_kinds
    from emu.reference.entries import OptionsOf
    from emu.topology.tiers import TierOptions

    return OptionsOf(TierOptions) if entry.options and entry.name in known_kinds() else []


# --- how it is shown ------------------------------------------------------------------------------


def _width() -> int:
    columns = shutil.get_terminal_size((WIDTH_CHARS, 24)).columns
    return min(columns, MOST_CHARS) if output.out.is_terminal else WIDTH_CHARS


def _tell_topics() -> None:
    explain = f"{output.command_name()} explain"
    _tell_rows((f"{explain} {topic}", about) for topic, about in ABOUT.items())
    _print("")
    _tell_rows((f"{explain} {words}", why) for words, why in EXAMPLES.items())


def _tell_rows(rows: Iterable[tuple[str, str]]) -> None:
    """Beside each other where there is room, else below."""
    found = list(rows)
    widest = max(len(name) for name, _ in found)
    beside = widest + LEAST_BESIDE_CHARS <= _width()
    indent = " " * (widest + 2 if beside else 4)
    for name, text in found:
        told = _wrapped(text, indent)
        line = Text(name, "cyan")
        _print(line.append(told[len(name) :], "default") if beside else line)
        if not beside:
            _print(told)


def _tell_whole(topic: str, entry: Entry, *, last: bool) -> None:
    _print(f"{entry.name}  ({topic})", "bold cyan")
    _print(_wrapped(entry.text))
    for what, value in (("value", entry.unit), ("default", entry.default)):
        if value:
            _print(f"    {what}: {value}")
    for line in entry.more.splitlines():
        _print(_wrapped(line))
    if entry.example:
        _print(f"    example: {entry.example}", "green")
    for each in entry.options:
        told = f"{each.unit}, {each.default}" if each.default else each.unit
        _print(Text(f"  {each.name}", "cyan").append(f"  {told}", "dim"))
        _print(_wrapped(each.text, "      "))
    if not last:
        _print("")


def _wrapped(text: str, indent: str = "    ") -> str:
    return textwrap.fill(
        text, _width(), initial_indent=indent, subsequent_indent=indent, break_long_words=False
    )


def _print(text: str | Text, style: str = "") -> None:
    output.out.print(text, style=style or None, markup=False)


def _as_record(topic: str, entry: Entry) -> dict[str, Any]:
    return {
        "topic": topic,
        **entry._asdict(),
        "options": [each._asdict() for each in entry.options],
    }


# --- verbs ----------------------------------------------------------------------------------------


def verbs(commands: Any) -> Iterator[Entry]:
    """The command line's own verbs; those of faults are told by their words."""
    from emu.model.faults import VERBS
    from emu.reference.entries import Entry

    for name, command in commands.commands.items():
        if name not in VERBS:
            text = " ".join((command.help or "").split())
            example = (command.epilog or "").removeprefix(EXAMPLE)
            yield Entry(name, text, example=example, options=tuple(_options(command.callback)))


def _options(callback: Any) -> Iterator[Entry]:
    """What a verb may be told, read off its function."""
    from emu.reference.entries import Entry

    verb = inspect.unwrap(callback)
    hints = get_type_hints(verb, include_extras=True)
    for name, parameter in inspect.signature(verb).parameters.items():
        found = get_args(hints[name])
        if len(found) < 2 or name in SHARED or getattr(found[1], "hidden", False):
            continue
        hint, told = found[0], found[1]
        declared = [each for each in (told.default, *(told.param_decls or ())) if _is_flag(each)]
        shown = max(declared, key=len) if declared else _name_of(told, name)
        default = parameter.default
        said = "" if default in (None, "", False, inspect.Parameter.empty) else str(default)
        yield Entry(shown, told.help or "", _value_of(hint, told), said)


def _is_flag(declared: Any) -> bool:
    return isinstance(declared, str) and declared.startswith("-")


def _name_of(told: Any, name: str) -> str:
    return str(told.metavar or f"--{name.replace('_', '-')}").strip("[].")


def _value_of(hint: Any, told: Any) -> str:
    if hint is bool:
        return "true | false"
    words = {int: "a whole number", int | None: "a whole number", Path: "a file"}
    return str(told.metavar or "").strip("[].").lower() or words.get(hint, "text")


# --- docs/reference -------------------------------------------------------------------------------


def pages(commands: Any) -> Mapping[str, str]:
    """File name → text, of docs/reference."""
    from emu.reference.pages import pages as made

    return made({topic: (about, _entries(topic, commands)) for topic, about in ABOUT.items()})


def _write(folder: Path, commands: Any) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in pages(commands).items():
            (folder / name).write_text(text, "utf-8")
    except OSError as error:
        output.fail(f"cannot write {folder}: {error.strerror}")
    output.note(f"{folder}: {len(ABOUT) + 1} pages")
