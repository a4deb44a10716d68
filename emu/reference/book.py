"""All that can be explained but the command line, topic by topic: kinds, the sections of a file,
faults, events, metrics, expectations, target words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, Final

from emu.alerts import rules
from emu.model import expectations, faults, verdicts
from emu.model.kinds import known_kinds
from emu.model.shaping import LinkDefaults, LinkOptions
from emu.model.vocabulary import operations
from emu.observe import facts, status
from emu.reference import source
from emu.reference.entries import Entry, OptionsOf, text_of
from emu.running.instance import STATES
from emu.running.targets import CHOICES, SELECTORS
from emu.topology.loading import SECTIONS, OutsideOptions
from emu.topology.tiers import TierOptions
from emu.topology.timelines import When
from nodes.kind import Kind
from nodes.operations import Operation

PREFIX: Final = "emu_"
"""Of every metric where it is scraped."""
MEANT: Final = {"target": "'one web'", "between": "lb web", "tier": "", "what": "all"}
"""What a word's main field may be, for examples; a tier need not be said where there is one."""
BY_HAND: Final = {
    "scale": "emu scale web=5",
    "call": "emu call --admin lb set_state web-3 drain",
}
"""Verbs whose command line is not made from their word."""
BELOW: Final[Mapping[str, tuple[type, ...]]] = {
    "tiers": (TierOptions,),
    "links": (LinkDefaults, LinkOptions),
    "outside": (OutsideOptions,),
    "faults": (When,),
}
"""Section → what may stand in it, whatever the kind or the fault."""


def kinds() -> list[Entry]:
    """What a tier may be."""
    return [_kind(word, kind) for word, kind in known_kinds().items()]


def _kind(word: str, kind: Kind) -> Entry:
    said = {
        "listens": ", ".join(f"{port.name} {port.number}" for port in kind.ports),
        "names": ", ".join(edge.field for edge in kind.edge_records),
        "roles": ", ".join(kind.roles),
        "is told to": ", ".join(each.verb for each in kind.operations),
        "workloads": ", ".join(kind.workloads),
    }
    more = "\n".join(f"{what}: {words}" for what, words in said.items() if words)
    options = OptionsOf(kind.config)
    return Entry(word, kind.about, example=kind.example, options=options, more=more)


def sections() -> list[Entry]:
    """What a topology file may say."""
    people = {
        kind.outside: f"Who comes from each region, and how: `{kind.example}`."
        for kind in known_kinds().values()
        if kind.outside
    }
    return [
        Entry(
            name,
            text.partition(": `")[0] + ".",
            example=text.partition(": `")[2].partition("`")[0],
            options=OptionsOf(*BELOW.get(name, ())),
        )
        for name, text in {**SECTIONS, **people}.items()
    ]


def breaking() -> list[Entry]:
    """What breaks and mends a cluster, or is done to it: on the command line, in a file's
    `faults:`, and as methods of a script."""
    general = [_word(kind, lasts=verb not in faults.PASSING)
               for verb, kind in faults.VERBS.items()]  # fmt: skip
    return [*general, *(_operation(each) for each in operations().values())]


def _operation(operation: Operation) -> Entry:
    made = _word(operation.word, lasts=operation.undo is not None)
    example = f"emu {operation.example}" if operation.example else made.example
    only = "; say which, where there are several" if operation.word.main == "tier" else ""
    return made._replace(example=example, more=f"of: a {operation.of}{only}")


def _word(word: Any, *, lasts: bool) -> Entry:
    own = OptionsOf(word, leave_out=(word.main,))
    main = next(each for each in fields(word) if each.name == word.main)
    shown = [each for each in own if each.default == "must be given"] or own[:1]
    flags = [_flag(each) for each in shown]
    ends = ["--for 5s"] if lasts else []
    words = ["emu", word.verb, MEANT.get(main.name, main.name), *flags, *ends]
    example = BY_HAND.get(word.verb, " ".join(filter(None, words)))
    return Entry(word.verb, text_of(word), example=example, options=own)


def _flag(option: Entry) -> str:
    """`--latency 100ms` of an option as YAML writes it."""
    name, _, value = option.example.partition(": ")
    flag = f"--{name.replace('_', '-')}"
    return flag if option.unit == "true | false" else f"{flag} {value}"


def events() -> list[Entry]:
    """What nodes and emu tell: `emu events`, and `on:` in a file's faults."""
    return [
        Entry(each.event, each.text, example=_on(each.event), more=f"of: {each.room}")
        for each in sorted(source.events(), key=lambda each: (each.room, each.event))
    ]


def _on(event: str) -> str:
    """A fault after it; `*` of its name is an operation's verb."""
    verb = next(iter(operations()))
    word = event.replace("*", verb).replace(" ", "-")
    quoted = f'"{word}"' if ":" in word else word
    return f"{{on: {quoted}, after: 1s, kill: one web}}"


def metrics() -> list[Entry]:
    """What each node counts, for `/metrics`, dashboards and `c.metrics(...)`."""
    return [
        Entry(f"{PREFIX}{each.name}", each.text, each.kind, example=_query(each),
              more="\n".join(_of_metric(each)))
        for each in sorted(source.metrics(), key=lambda each: each.name)
    ]  # fmt: skip


def _of_metric(metric: source.Metric) -> list[str]:
    labels = ", ".join(metric.labels)
    return [f"of: {', '.join(metric.rooms)}", *([f"labels: {labels}"] if labels else [])]


def _query(metric: source.Metric) -> str:
    name = f"{PREFIX}{metric.name}"
    if metric.kind == "counter":
        return f"sum by (tier) (rate({name}[1m]))"
    if metric.kind == "histogram":
        return f"histogram_quantile(0.99, sum by (tier, le) (rate({name}_bucket[1m])))"
    return f"max by (node) ({name})"


ALERT_TEXT: Final = (
    "Whether one of the alert rules fires, so soon after the first fault (or the first one of a "
    "verb), `never fires`, or `clears` before the end. Names are those of `emu alerts --rules`."
)
ALERT_EXAMPLE: Final = "alert NoPrimary fires within 10s of kill"


def expected() -> list[Entry]:
    """What `expect:` may hold a run to."""
    measured = [
        Entry(name, each.text, example=each.example) for name, each in expectations.METRICS.items()
    ]
    return [*measured, Entry(expectations.ALERT, ALERT_TEXT, example=ALERT_EXAMPLE)]


def targets() -> list[Entry]:
    """Which nodes a word means: of faults, and of most verbs."""
    words = [Entry(each, text, example=f"emu kill '{each}'") for each, text in SELECTORS.items()]
    many = [Entry(each, text, example=f"emu kill '{each} web'") for each, text in CHOICES.items()]
    return [*words, *many]


def alerts() -> list[Entry]:
    """What may fire, beside emu or in a Prometheus."""
    found = [each for each in rules.shipped() if isinstance(each, rules.Alert)]
    return [
        Entry(each.name, rules.in_general(f"{each.summary}. {each.description}"),
              example=f"alert {each.name.removeprefix(rules.PREFIX)} fires within 10s of kill",
              more="\n".join(_of_alert(each)))
        for each in found
    ]  # fmt: skip


def _of_alert(alert: rules.Alert) -> list[str]:
    lasts = f" for {rules.duration(alert.for_s)}" if alert.for_s else ""
    return [
        f"severity: {alert.severity}",
        f"mend it: {rules.in_general(alert.mend)}",
        f"fires while: `{alert.text}`{lasts}",
    ]


def words() -> list[Entry]:
    """What people read on screens and pages, and may not know."""
    told = [
        *_terms(verdicts.VERDICTS, "a run's verdict", "emu up 05 --for 30s"),
        *_terms(verdicts.WORDS, "the end of a run", "emu summary"),
        *_terms(status.WORDS, "`emu top`, the page", "emu top"),
        *_terms({state: f"{text[0].upper()}{text[1:]}." for state, text in STATES.items()},
                "a node's state", "emu ps"),
    ]  # fmt: skip
    of: dict[tuple[str, str], list[str]] = {}
    for word, kind in known_kinds().items():
        own = {facts.title(each._asdict()): each.text for each in kind.facts} | dict(kind.words)
        for pair in own.items():
            of.setdefault(pair, []).append(word)
    return told + [
        Entry(name, text, example="emu ps", more=f"of: {', '.join(whose)}")
        for (name, text), whose in of.items()
    ]


def _terms(texts: Mapping[str, str], of: str, example: str) -> list[Entry]:
    return [Entry(name, text, example=example, more=f"of: {of}") for name, text in texts.items()]


TOPICS: Final[Mapping[str, Callable[[], list[Entry]]]] = {
    "kind": kinds,
    "section": sections,
    "fault": breaking,
    "target": targets,
    "event": events,
    "metric": metrics,
    "expect": expected,
    "alert": alerts,
    "word": words,
}
"""Topic → its entries. The command line adds its verbs."""
