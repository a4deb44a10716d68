"""What a kind of tier says of itself, to all who ask: the loader of topologies, the network, the
command line, the page, the swarm, the checkers.

Records only. Each family fills them in (its `KIND`), kinds.py is the table of them; emu/ asks the
record and knows no kind by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple

from nodes.base import ADMIN_PORT, HTTP_PORT, RPC_PORT, NodeFactory
from nodes.history import Model
from nodes.operations import Operation, Statements
from protocols.control import METRICS, RIGHTS, SCALE

# --- where a tier's machines listen --------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Port:
    """A door of each of a tier's machines: what listens there, and for whom."""

    name: str
    """What `emu url --door` calls it: rpc, http, dns, redis, postgres, sqs ..."""
    number: int
    speaks: tuple[str, ...] = ("rpc",)
    """Protocols that it tells apart by themselves; the first one gives its URL."""
    public: bool = True
    """Whether `public: true` of the tier opens it to users and clients from outside."""
    datagrams: bool = False
    """Whether it is reached by UDP as well."""

    def __post_init__(self) -> None:
        if not self.speaks:
            raise ValueError(f"port `{self.name}` speaks nothing; name a protocol")
        if self.number == ADMIN_PORT or not 0 < self.number < 65536:
            raise ValueError(f"port `{self.name}`: {self.number} is no number for a tier's port")


PROXY: Final = "proxy"
"""What a port speaks that takes a PROXY header before the client's own bytes."""
RPC: Final = Port("rpc", RPC_PORT)
HTTP: Final = Port("http", HTTP_PORT, ("http", "rpc", PROXY))
"""A web port: HTTP, MessagePack and PROXY are told apart by the first byte."""


# --- what its edges allow --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Edge:
    """A Config field that holds other tiers' names. Members may dial the listed ports of those."""

    field: str
    rights: tuple[str, ...] = ()
    """What it allows beside: `metrics` to read what their members measure and describe, `scale` to
    ask the directory for more or fewer of them, `purge` to have them forget what they keep."""
    outside: bool = False
    """Whether it may hold an address outside in place of a tier, which members may dial then:
    `http://127.0.0.1:8000`."""

    def __post_init__(self) -> None:
        unknown = [each for each in self.rights if each not in RIGHTS]
        if unknown:
            known = ", ".join(RIGHTS)
            raise ValueError(f"edge `{self.field}`: no right `{unknown[0]}`; there are {known}")


SCALES: Final = Edge("scales", (METRICS, SCALE))
"""What a field `scales` is, also where a kind names it by a plain word."""


# --- what a family says of a topology file -------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TierSeen:
    """A tier of a file, as a family's own checks see it."""

    name: str
    word: str
    """Its `kind:` as written."""
    config: Any
    nodes: int
    public: bool
    kind: Kind
    reached: Mapping[str, tuple[TierSeen, ...]] = field(default_factory=dict)
    """Edge → the tiers that it names. Theirs are not filled in."""
    regions: tuple[str, ...] = ()
    """Of the whole file."""


class Mistake(NamedTuple):
    """Why a file is refused: an option whose value does not fit the tiers around it."""

    option: str
    text: str


def unknown_regions(tier: TierSeen, option: str, words: Iterable[str]) -> Iterator[Mistake]:
    """Those of the words of an option that are no region of the file."""
    for word in words:
        if word not in tier.regions:
            there = ", ".join(tier.regions)
            yield Mistake(option, f"`{option}`: no region is called `{word[:40]}`; choose {there}")


class Caution(NamedTuple):
    """What would surprise whoever runs the file: about a tier that was reached, or (None) the one
    that was looked at."""

    text: str
    about: TierSeen | None = None


class Demand(NamedTuple):
    """What each member of a tier of clients asks for by itself."""

    rate_per_s: float = 0.0
    """Whatever happens; the most, where it changes."""
    waiting: int = 0
    """So many at a time, each waiting for its answer."""
    least_per_s: float | None = None
    """The least, where the rate changes."""


class Scaling(NamedTuple):
    """What a tier that scales another one may do to it."""

    tier: str
    most_nodes: int
    option: str
    """Which of its options says so."""


# --- what a family says of a running tier --------------------------------------------------------


class Leader(NamedTuple):
    """The role of the one member that takes writes."""

    role: str
    event: str = "promoted"
    """What a member logs when it has come to have it (with the `epoch`, where there are epochs)."""
    voters: str = ""
    """Of `describe`: the names of all who choose it, also of other tiers; "": all members do."""
    timeout: str = ""
    """The Config field that says how long it leads without hearing from the others, and how long
    they bear its silence; "": there is no such time."""
    serves: str = ""
    """Of `describe`: whether it would answer as the leader just now; with a `timeout` only. Then it
    also tells its `epoch`, its log's last `lsn` and its `epochs` ([epoch, first LSN] each), what of
    it is decided (`committed_lsn`), and the `founding` of its group."""
    filled: str = ""
    """What a member logs when it has got all that it lacked from another."""
    replays: tuple[str, str] = ("", "")
    """Of `describe`: how far its state is in its log, and where that ends."""


class Fact(NamedTuple):
    """Something that members say of themselves in `describe`, for people to see."""

    key: str
    """Of `describe`, with its unit: `lag_s` is shown as a time, under `lag`."""
    screens: tuple[Literal["ps", "top", "page"], ...] = ()
    """Where; `emu ps --json` has them all."""
    of_others: str = ""
    """Where whoever leads knows it best of the others: the key under which it tells it, by their
    names. Of the leader itself it then says nothing."""
    text: str = ""
    """What it is, in a sentence: who reads the word on a screen looks it up."""


class Traffic(NamedTuple):
    """The metrics of its members that are a tier's traffic on every screen. Those of clients have a
    label `effect`: read or write."""

    requests: str
    errors: str
    seconds: str = ""
    """A histogram of how long they take; "": nobody measures it."""
    in_hand: str = ""
    """A gauge of those that wait for their end."""


REQUESTS: Final = Traffic(
    "requests_total", "request_errors_total", "request_seconds", "requests_in_flight"
)


class Mark(NamedTuple):
    """An event of its members that matters to whoever looks at a run afterwards."""

    event: str
    word: str = ""
    """What it is called on graphs: promotion, failure ...; "": it is not drawn."""
    text: str = ""
    """How it reads after the fault that it follows: `marks {server} down`, said of its node, with
    the event's fields; "": it is not told."""


class Try(NamedTuple):
    """A command for whoever meets a tier for the first time, and what it shows."""

    command: str
    why: str


@dataclass(frozen=True, slots=True)
class StateCheck:
    """What must hold, at any setting, of what a tier's members say once the run is healed.

    `model` replicas: each answers a map, and all maps must be equal in the end. owners: each
    answers `[[slot, epoch], ...]`, what it owns; no slot may have two owners in one epoch. logs:
    each answers with what it has committed (nodes/replica/log_digest.py); no record may differ.
    """

    model: Literal["replicas", "owners", "logs"]
    method: str
    """Asked of every running member, on its admin listener."""
    across_group: bool = False
    """Whether all tiers that one declared tier expands to are judged together."""


# --- the record ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Kind:
    """One line of the table of kinds: what a tier's `kind:` word stands for.

    `edges` names the Config fields that hold other tiers' names: the topology checks them, and the
    network lets members of this tier dial those tiers (and nobody else's private ports). A plain
    word allows nothing else.
    """

    config: type
    node: NodeFactory
    ports: tuple[Port, ...] = (RPC,)
    """Where members listen beside their admin port, the main one first: it is what the directory
    and `ps` name. Only these can be dialled, by who may."""
    runner: str = ""
    """Who runs members, by the name that the cluster has for it; "": emu's own process."""

    about: str = ""
    """What its tiers are, in a sentence for people."""
    example: str = ""
    """How a file has one, on a line."""

    # who asks whom
    edges: tuple[str | Edge, ...] = ()
    passes: tuple[str, ...] = ()
    """Those of its edges along which every request goes on."""
    peers: bool = False
    """Whether members of the tier dial each other."""
    clients: bool = False
    """Whether members only ask: they are started last, and their admin listeners answer `summary`
    and, once, `finish` (stop, wait for stragglers, read back) with what emu/verdict/ adds up."""
    works: bool = False
    """Whether members do later what clients asked for: their histories are judged, too, and they
    are asked for `finish` when the clients are done (they wait until nothing is left to do)."""
    outside: str = ""
    """Members stand for people out there, who reach public ports only: the section of the file that
    says how they come from each region."""
    elsewhere: bool = False
    """Members stand in no data centre of their region: what breaks it spares them."""
    demand: Callable[[Any], Demand] | None = None
    """(config) → what each member asks for."""
    paced: Callable[[Any, float], Any] | None = None
    """(config, requests per second) → the config with which a member asks so many, whatever
    happens."""
    sampled: Callable[[Any], float] | None = None
    """(config) → the share of the requests that a member makes which is really sent: what the
    others would have been is work for the cpus on the way. One share holds for a file."""
    scales: Callable[[Any], Scaling] | None = None
    """(config) → the tier that it has more or fewer members of, as the load asks for."""
    visited: bool = False
    """Whether it is there to be visited: of no use where nobody can."""
    copies: bool = False
    """Whether it keeps copies of what groups with a leader have: in a swarm what fills it comes
    late, and its members go twice in a row."""
    stores: bool = False
    """Whether it keeps data: of no use where nobody asks, and not to be public."""

    # the file
    fixed: str = ""
    """Why the number of its members is for good, and what to do instead; empty: `scale` it."""
    mistakes: Callable[[TierSeen], Iterable[Mistake]] | None = None
    """What its family alone finds wrong in a file."""
    patience: Callable[[Any], float] | None = None
    """(config) → the seconds that a member may need to end what it has in hand when it is stopped,
    where that is more than a moment."""
    cautions: Mapping[str, Callable[[TierSeen], Iterable[Caution]]] = field(
        default_factory=dict, hash=False
    )
    """Warning code → what its family warns of."""
    code: Mapping[str, Callable[[Any], None]] = field(default_factory=dict, hash=False)
    """Config fields that name Python code (`module:function`), which the loader imports by its
    rules → what refuses an object that will not do. Raises ValueError, as `is ...`."""
    expand: Callable[[str, dict[str, Any]], dict[str, dict[str, Any]]] | None = None
    """A kind that stands for several tiers: (name, the YAML options but `kind`) → tier name → YAML
    options (with `kind`). Those who name it as an edge reach all of them."""
    joined: Callable[[TierSeen], Any] | None = None
    """The tier → the config that its members run with, with what those that its edges reach bring
    to it. Raises ValueError that names the key in backticks."""
    hosts: Callable[[Any], tuple[str, ...]] | None = None
    """(config) → the names by which it says where the site is, the one to ask for first."""

    # a group, and who leads it
    front: bool = False
    """Whether a member answers calls to the whole group that its tier comes from."""
    roles: tuple[str, ...] = ()
    """Roles a member may report in `describe` (primary, replica, ...), usable in targets."""
    leader: Leader | None = None
    votes_with: Callable[[Any], tuple[str, ...]] | None = None
    """(config) → other tiers that have voters of a tier's group: its witnesses."""

    # what people see
    traffic: Traffic = REQUESTS
    facts: tuple[Fact, ...] = ()
    marks: tuple[Mark, ...] = ()
    words: Mapping[str, str] = field(default_factory=dict, hash=False)
    """What else people read of its members on screens (roles, terms of its trade) → what it means,
    in a sentence."""
    labels: Mapping[str, Callable[[list[Any]], str]] = field(default_factory=dict, hash=False)
    """Method → how its params read in a diagram of messages; "" where they say nothing."""
    look: Callable[[Any, str, int], Iterable[Try]] | None = None
    """(config, address, port) → how to look at a public member from outside, beside HTTP."""

    # what is done to it
    operations: tuple[Operation, ...] = ()
    """What an operator may do to such a tier, and the faults that only it can have."""
    statements: Statements | None = None
    """The query language that members understand, if any."""
    workloads: Mapping[str, Callable[[Any], Any]] = field(default_factory=dict, hash=False)
    """What `kind: clients` can run against the tier: name → (Setting) → Workload (see
    nodes/workloads/base.py)."""

    follow: str = ""
    """An admin method of members that ask as people would: (url) → what `emu why` prints."""

    # what is asked of it, and how it is put to the test
    checks: tuple[StateCheck, ...] = ()
    """What is asked of the members' state at the end of a run."""
    models: Mapping[str, Model] = field(default_factory=dict, hash=False)
    """What judges the histories of those workloads, where no general model does (emu/checks/)."""
    may_lose: Callable[[Any, int], str] | None = None
    """(config, members) → why acknowledged writes may get lost at this setting, or "" if they may
    not. What is lost where it may be is a number, no anomaly."""
    reaches: tuple[str, ...] = ()
    """States that its members tell `ctx.reached` of: what a campaign of seeds has to meet, or it
    says little. Words for people: `a group of two or more transactions`."""
    reaches_together: tuple[str, ...] = ()
    """What only members of a tier of two or more can meet."""
    varied: Mapping[str, tuple[Any, ...]] = field(default_factory=dict, hash=False)
    """Config fields that a swarm may set otherwise than the file, and to what: small limits, quick
    clients. What the tier promises must be the same with each."""
    sizes: Mapping[int, Mapping[str, Any]] = field(default_factory=dict, hash=False)
    """How many members a swarm may give a tier that has fewer (but `least_size` of them), and which
    Config fields are otherwise then. What the tier promises must be the same with each."""
    least_size: int = 1
    weak_after: tuple[str, ...] = ()
    """Events of its members after which a swarm hits its group: where its protocol is weakest."""
    disks_to_spare: Callable[[Any, int], int] | None = None
    """(config, members) → how many of them may lose their disks, one after the other, and nothing
    that was promised is lost. None: not one."""
    mends: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """Config fields by which its members mend their group, and the values at which they do not
    (`healing: off` of a file)."""
    alarming: tuple[str, ...] = ()
    """Events that no member may log in a world whose disks keep what they said they keep."""
    damaged: tuple[str, ...] = ()
    """Files of a member's disk whose bits a swarm may flip, when it is asked to damage."""

    def __post_init__(self) -> None:
        for each in ("name", "number"):
            values = [getattr(port, each) for port in self.ports]
            if len(set(values)) < len(values):
                raise ValueError(f"two ports of a kind have one {each}: {values}")

    @property
    def edge_records(self) -> tuple[Edge, ...]:
        """Its edges, those too that are plain words."""
        return tuple(
            each if isinstance(each, Edge) else SCALES if each == SCALES.field else Edge(each)
            for each in self.edges
        )

    @property
    def port(self) -> int:
        """The main port's number, which the directory names even where nobody listens."""
        return self.ports[0].number if self.ports else RPC_PORT
