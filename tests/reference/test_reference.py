"""Nothing that a user can say or meet lacks its sentence and its example, and both are true."""

from __future__ import annotations

import re
import shlex
from contextlib import nullcontext
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
from rich.text import Text
from ruamel.yaml import YAML
from typer.main import get_command
from typer.testing import CliRunner

import emu
from emu.cli import explain, faulting, operating, output
from emu.cli.verbs import app
from emu.model import expectations
from emu.model.kinds import known_kinds
from emu.model.vocabulary import verbs
from emu.reference import book, source
from emu.reference.entries import Entry
from emu.topology import schema
from emu.topology.document import Document
from emu.topology.loading import loads

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / "docs" / "reference"
COMMANDS: Any = get_command(app)
WORD = re.compile(r'"([A-Za-z][^"\n]*)"')


@pytest.mark.parametrize("topic", [*explain.ABOUT])
def test_nothing_lacks_its_sentence_or_its_example(topic: str) -> None:
    entries = explain._entries(topic, COMMANDS)
    lacking = [f"{each.name}: {each.lacks}" for each in entries if each.lacks]
    options = [(each, option) for each in entries for option in each.options]
    silent = [f"{each.name}.{option.name}" for each, option in options if not option.text]
    if topic != explain.VERB:  # a verb's example has its options
        lacking += [f"{each.name}.{one.name}: no example" for each, one in options
                    if not one.example]  # fmt: skip
    assert entries and not [*lacking, *silent]


def wrong(config: type, example: str) -> list[str]:
    """What the loader says of one option, alone."""
    given = YAML(typ="safe", pure=True).load(example)
    document = Document("example.yaml")
    schema.build(document, (), given, config, "an example")
    (key,) = given
    about = (f"`{key}`:", "unknown key")  # not what it needs beside it
    return [each.message for each in document.problems if each.message.startswith(about)]


@pytest.mark.parametrize("word", [*known_kinds()])
def test_the_example_of_every_option_is_one(word: str) -> None:
    config = known_kinds()[word].config
    (kind,) = [each for each in book.kinds() if each.name == word]
    flat = [each for each in kind.options if "." not in each.name]
    assert {each.name: found for each in flat if (found := wrong(config, each.example))} == {}


def test_what_every_tier_may_be_told_is_shown_by_an_example() -> None:
    for section, configs in book.BELOW.items():
        (told,) = [each for each in book.sections() if each.name == section]
        for config in configs:
            names = schema.keys_of(config)
            own = [each for each in told.options if each.name in names]
            assert own and not [found for each in own if (found := wrong(config, each.example))]


def test_every_example_of_a_section_and_a_kind_is_yaml() -> None:
    for each in [*book.sections(), *book.kinds()]:
        assert isinstance(YAML(typ="safe", pure=True).load(each.example), dict), each.name


def test_every_expectation_shown_is_one() -> None:
    assert [expectations.parse(each.example).metric for each in book.expected()] == [
        each.name for each in book.expected()
    ]


@pytest.mark.parametrize("entry", book.breaking(), ids=lambda entry: entry.name)
def test_the_example_of_every_fault_is_understood(
    entry: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Asked:
        def __getattr__(self, name: str) -> Any:
            return lambda *words, **options: {
                "changed": {}, "removed": [], "undone": [], "restarts": [], "lasts": False,
                "number": 1, "text": "", "result": {}, "succeeded": True, "over": True,
                "done": 0, "of": 0,
            }  # fmt: skip

    for module in (faulting, operating):
        monkeypatch.setattr(module, "attached", lambda *_, **__: nullcontext(Asked()))
    monkeypatch.setattr("emu.cli.nodes.ask", lambda *_, **__: {})
    assert entry.name in verbs()
    done = CliRunner().invoke(app, shlex.split(entry.example)[1:])
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize("entry", [*explain.verbs(COMMANDS)], ids=lambda entry: entry.name)
def test_the_example_of_every_verb_is_parsed(entry: Entry) -> None:
    program, verb, *words = shlex.split(entry.example)
    command = COMMANDS.commands[verb]
    assert (program, verb) == ("emu", entry.name)
    with command.make_context(verb, words) as context:  # raises for what it does not know
        assert context.command is command


# --- events and metrics ---------------------------------------------------------------------------


def explained(event: str) -> bool:
    return any(fnmatch(event, each.event) or fnmatch(each.event, event) for each in source.events())


def test_every_event_that_the_source_logs_is_explained() -> None:
    assert [f"{place}: {event}" for place, event in source.logged() if not explained(event)] == []


def test_every_event_that_is_explained_is_told_somewhere() -> None:
    logged = [event for _, event in source.logged() if event != "*"]
    words = {word for path, tree in source.modules() if path
             for word in WORD.findall((ROOT / path).read_text())}  # fmt: skip
    core = (ROOT / "protocols/replication/messages.py").read_text()
    for each in source.events():
        event, as_class = each.event, "".join(part.title() for part in each.event.split())
        names = (event, event.partition(".")[2])
        direct = any(fnmatch(event, one) or fnmatch(one, event) for one in logged)
        assert direct or f"class {as_class}(" in core or any(one in words for one in names), event


def test_the_example_of_every_event_is_a_fault_of_a_file() -> None:
    shop = "tiers: {web: {kind: web, public: true}}\nfaults:\n"
    lines = "".join(f"  - {each.example}\n" for each in book.events())
    faults = loads(f"{shop}{lines}", path="shop.yaml").faults
    assert len({item.on for item in faults}) == len({each.name for each in book.events()})


def test_no_event_is_explained_twice_in_one_room() -> None:
    places = [(each.room, each.event) for each in source.events()]
    assert len(set(places)) == len(places)


def test_what_happens_in_a_run_is_explained() -> None:
    async def script(c: emu.Scenario) -> set[str]:
        await c.sleep(2)
        await c.crash("db primary", for_s=2)
        await c.kill("one web", for_s=1)
        await c.sleep(4)
        await c.finish()
        return {event["event"] for event in c.events()}

    text = (ROOT / "topologies" / "05-replication.yaml").read_text()
    told = emu.run(script, loads(text, path="05.yaml"), seed=3)
    assert {"promoted", "node up", "server down", "fault started"} <= told
    assert [event for event in sorted(told) if not explained(event)] == []


def test_every_metric_has_a_name_and_a_sentence_in_the_source() -> None:
    for each in source.metrics():
        assert re.fullmatch(r"[a-z][a-z0-9_]*", each.name), each
        assert each.name.endswith("_total") or each.kind != "counter", each.name


# --- words on screens -----------------------------------------------------------------------------


def test_what_a_screen_says_of_a_node_is_explained() -> None:
    """Columns of `ps`, roles, states: who reads a word on the screen can look it up."""
    words = {each.name for each in book.words()}
    for kind in known_kinds().values():
        assert [each.key for each in kind.facts if not each.text] == []
        assert [role for role in kind.roles if role not in words] == []
    assert {*output.STATE_STYLES} <= words


def test_every_alert_is_explained_with_or_without_its_prefix() -> None:
    for name in ("EmuReplicaLag", "ReplicaLag"):
        told = ask(name)
        assert told.exit_code == 0 and "mend it: `emu start REPLICA`" in told.output


# --- the pages, and the command -------------------------------------------------------------------


def test_the_pages_are_what_the_code_says() -> None:
    made = explain.pages(COMMANDS)
    there = {path.name: path.read_text("utf-8") for path in REFERENCE.iterdir()}
    assert sorted(there) == sorted(made)
    stale = [name for name, text in made.items() if there[name] != text]
    assert not stale, f"{stale}: `make docs` writes them anew"


def ask(*words: str) -> Any:
    return CliRunner().invoke(app, ["explain", *words])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "explain kind web"),
        (("kind",), "balancer        Takes connections"),
        (("kinds",), "balancer        Takes connections"),
        (("kind", "web"), "shard_timeout  a time (s, ms), 0.5s"),
        (("web.restart",), "value: no | on-failure"),
        (("users.mix.post",), "default: 15"),
        (("fault", "slow"), "example: emu slow 'one web' --latency 0.1s --for 5s"),
        (("slow.latency",), "Added in each direction, if not `one_way`."),
        (("verb", "up"), "--strict  true | false"),
        (("quorum",), "any two such majorities"),
        (("untrusted",), "of: a run's verdict"),
        (("promoted",), "example: {on: promoted, after: 1s, kill: one web}"),
        (("event", "hot-key"), "A key takes a fifth or more"),
        (("requests_total",), "rate(emu_requests_total[1m])"),
        (("links.within",), "One-way latency inside a region."),
        (("minority",), "1 of 3, 2 of 5"),
        (("minorities",), ""),
    ],
    ids=lambda words: ".".join(words) if isinstance(words, tuple) else "",
)
def test_a_word_is_explained(words: tuple[str, ...], said: str) -> None:
    answer = ask(*words)
    if not said:
        assert answer.exit_code == 2 and "nothing is called `minorities`" in answer.stderr
    else:
        assert answer.exit_code == 0 and said in answer.stdout, answer.output


@pytest.mark.parametrize(
    ("word", "meanings"),
    [
        ("restart", ["restart  (fault)", "tiers.restart  (option of a section)"]),
        ("ack", ["database.ack  (option of a kind)", "kv.ack  (option", "of: kv, kv_shard"]),
        ("epoch", ["emu_epoch  (metric)", "recover.epoch  (option of a fault)"]),
        ("outside", ["outside  (section)", "outside  (target)"]),
        ("timeout", ["cdn.timeout  ", "web.timeout  ", "load --timeout  "]),
    ],
)
def test_a_word_of_several_meanings_is_explained_by_all(word: str, meanings: list[str]) -> None:
    told = ask(word).stdout
    assert [each for each in meanings if each not in told] == [], told


def test_what_is_explained_is_told_as_json_too() -> None:
    answer = ask("web.timeout", "--json")
    (found,) = YAML(typ="safe", pure=True).load(answer.stdout)
    assert (found["topic"], found["default"], found["example"]) == ("kind", "5s", "timeout: 5s")


def test_emu_says_which_one_it_is() -> None:
    said = CliRunner().invoke(app, ["--version"]).stdout
    assert re.fullmatch(r"emu \d+\.\d+\.\d+ \(Python 3\.\d+\.\d+, Trio 0\.\d+\.\d+\)\n", said)


@pytest.mark.parametrize("verb", [*COMMANDS.commands])
def test_the_help_of_a_verb_says_what_each_option_is(verb: str) -> None:
    params = [each for each in COMMANDS.commands[verb].params
              if not getattr(each, "hidden", False)]  # fmt: skip
    assert [each.name for each in params if not each.help] == []


@pytest.mark.parametrize("verb", [*COMMANDS.commands])
def test_the_help_of_a_verb_is_shown_as_it_is_written(verb: str) -> None:
    """Words in square brackets are styles to whoever draws it, and vanish."""
    command = COMMANDS.commands[verb]
    helps = [command.help or "", *(getattr(each, "help", None) or "" for each in command.params)]
    assert [text for text in helps if Text.from_markup(text).plain != text] == []
