"""The scripting API: one script, both worlds. `emu.cluster(...)` and `emu.run(...)` are from here.

A script breaks and asks a cluster through the same seams as the command line; the verbs are those
of emu/model/vocabulary.py, and the `faults:` of a topology are played by the same calls.
"""

from __future__ import annotations

import inspect
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal, Protocol, TypeVar, get_origin, get_type_hints

import trio

from emu.live.world import LiveWorld
from emu.machine.events import Event, Events
from emu.model.expectations import Expected, about_alerts
from emu.model.faults import Fault
from emu.model.problems import hint
from emu.model.topology import FaultItem, Topology
from emu.model.vocabulary import verbs
from emu.observe.alerting import Alerting
from emu.operations.console import run_statement
from emu.operations.inject import inject, latest
from emu.operations.operating import Operating
from emu.running import conditions, doors, timeline, views
from emu.running.asking import ask_each
from emu.running.supervisor import Cluster
from emu.running.targets import resolve
from emu.sim.run import in_virtual_time
from emu.sim.timers import SimClock
from emu.sim.world import Knobs, SimWorld
from emu.topology.loading import load
from emu.verdict.finished import Finished
from emu.verdict.judging import Judge
from nodes.operations import Progress

WorldName = Literal["live", "sim"]
UNTIL_TIMEOUT_S: Final = 60.0
NO_VIRTUAL_TIME: Final = (
    "world='sim' needs virtual time, and this is trio.run with the real clock: call "
    "emu.run(script, topology, world='sim'), or use the `cluster` fixture of emu's pytest plugin"
)

T = TypeVar("T")


class Broken:
    """A fault or an operation that a script began. `async with await c.partition(...)` undoes it
    at the end; `await (await c.reshard("kv", 4)).ended()` waits for what comes of it."""

    def __init__(self, cluster: Cluster, number: int, operating: Operating | None) -> None:
        self._cluster = cluster
        self._operating = operating
        self.number = number

    @property
    def progress(self) -> Progress | None:
        """How far an operation was when last looked at."""
        return self._operating.progress if self._operating is not None else None

    async def ended(self) -> dict[str, Any]:
        """Wait for an operation's end; its result, {} of a fault. Raises RpcError, TargetError."""
        if self._operating is None:
            return {}
        await self._operating.over.wait()
        if self._operating.error is not None:
            raise self._operating.error
        return self._operating.result or {}

    async def undo(self) -> None:
        """End it now; nothing happens if it has ended."""
        await self._cluster.undo(self.number)

    async def __aenter__(self) -> Broken:
        await trio.lowlevel.checkpoint()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.undo()


class Verb(Protocol):
    """`await c.kill("one web", for_s=5)`: a fault's fields, and how long it lasts (None: until it
    is undone, or healed). Raises TargetError where the words name nothing."""

    def __call__(
        self, *values: Any, for_s: float | None = None, **options: Any
    ) -> Awaitable[Broken]: ...


class Scenario:
    """A running cluster in a script's hands. Times are the world's: virtual in a simulation."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self._judge = Judge(cluster)
        self.alerts: Alerting
        self._playing = trio.CancelScope()
        self.finished: Finished | None = None
        """The summary, once there is one."""

    # --- time and events ---------------------------------------------------------------------

    @property
    def now_s(self) -> float:
        """Seconds since the world began."""
        return self.cluster.world.timers.now_s()

    async def sleep(self, seconds: float) -> None:
        await self.cluster.operator.sleep(seconds)

    def events(self, name: str = "", **wanted: Any) -> list[Event]:
        """What happened so far (the newest 10,000), of that name and with those fields."""
        return [each for each in self.cluster.events if _is_wanted(each, name, wanted)]

    async def until(self, name: str, *, timeout_s: float = UNTIL_TIMEOUT_S, **wanted: Any) -> Event:
        """Wait for the next event of that name and with those fields. Raises TimeoutError."""
        with self.cluster.operator.move_on_after(timeout_s):
            return await timeline.next_event(
                self.cluster, lambda event: _is_wanted(event, name, wanted)
            )
        raise TimeoutError(f"no event `{name}` {wanted or ''} within {timeout_s:g} s")

    async def when(self, condition: str, *, timeout_s: float = UNTIL_TIMEOUT_S) -> str:
        """Wait until `db.lag > 2s` or the like is true of a node; its name. Raises TimeoutError,
        TargetError, ValueError."""
        wanted = conditions.parse(condition)
        with self.cluster.operator.move_on_after(timeout_s):
            return await conditions.until(self.cluster, wanted)
        raise TimeoutError(f"`{condition}` was not met within {timeout_s:g} s")

    # --- asking ------------------------------------------------------------------------------

    async def resolve(self, words: str) -> list[str]:
        """The nodes that target words mean just now. Raises TargetError."""
        return await self.cluster.resolve(words)

    async def ps(self, words: str = "all") -> list[dict[str, Any]]:
        """A row for each node, as `emu ps --json` has it."""
        return await views.ps(self.cluster, words)

    async def call(self, words: str, method: str, *params: Any) -> Any:
        """Call a method of the one node that `words` mean, at its main port. Raises RpcError."""
        names = views.fronts(self.cluster, words, await self.cluster.resolve(words))
        if len(names) != 1:
            raise ValueError(f"`{words}` are {len(names)} nodes ({', '.join(names)}): name one")
        return await views.ask_front(self.cluster, names[0], method, params)

    async def url(self, words: str, door: str = "") -> str:
        """What `emu url` prints: where a client from outside comes in. Raises TargetError."""
        row = await doors.url(self.cluster, words, door)
        return str(row["url"])

    async def sql(self, words: str, statement: str, **options: Any) -> dict[str, Any]:
        """Run one SQL statement on a database tier, as `emu sql` does (nodes/sql/statements.py has
        the options). Raises RpcError, TargetError."""
        return await run_statement(self.cluster, words, statement, options)

    async def call_admin(self, words: str, method: str, *params: Any) -> dict[str, Any]:
        """Call an admin method of each node that `words` mean: its answer, or the RpcError."""
        names = await self.cluster.resolve(words)
        ask = self.cluster.call_admin
        return await ask_each(names, lambda name: ask(name, method, *params))

    def metrics(self, words: str, name: str, **labels: str) -> float:
        """The sum of a metric over the nodes that `words` mean (of a histogram, its count).

        Roles are as they were last asked for. A node that restarted counts from 0 again. Raises
        TargetError, KeyError.
        """
        cluster = self.cluster
        names = resolve(words, cluster.candidates(), cluster.rng)
        return views.metric(cluster, names, name, **labels)

    # --- breaking ----------------------------------------------------------------------------

    async def inject(self, fault: Fault, *, for_s: float | None = None) -> Broken:
        """Do a fault; the verbs (`kill`, `partition` ...) are short for this."""
        number = await self.cluster.inject(fault, for_s=for_s)
        return Broken(self.cluster, number, latest(self.cluster, fault))

    async def play(self, items: Sequence[FaultItem]) -> None:
        """Play a timeline; returns when all of it has fired."""
        await timeline.play(self.cluster, items)

    def start_playing(self, items: Sequence[FaultItem], *, own: bool = False) -> None:
        """Play a timeline beside the script; what has not fired by `finish` never does. `own`: it
        is the topology's, so `finish` says what of it did not happen."""
        self.cluster.nursery.start_soon(self._play, items, own)

    async def _play(self, items: Sequence[FaultItem], own: bool) -> None:
        with self._playing:
            await timeline.play(self.cluster, items, own=own)

    def __getattr__(self, verb: str) -> Verb:
        """The verbs of kinds that this topology alone loads; the others are methods, made below."""
        known = verbs(self.cluster.topology) if not verb.startswith("_") else {}
        if verb not in known:
            raise AttributeError(f"a cluster has no `{verb}`; {hint(verb, known, most=len(known))}")
        return partial(_method(known[verb]), self)

    def look_at_alerts(self) -> Alerting:
        """Evaluate the alert rules from now on, each second: what fires is an event, and in the
        summary. Where the topology expects something of an alert, that is done from the start."""
        if self._judge.alerting is None:
            self.alerts = self._judge.alerting = Alerting(self.cluster)
            self.cluster.nursery.start_soon(self.alerts.run)
        return self.alerts

    # --- the end -----------------------------------------------------------------------------

    async def finish(self, expect: Sequence[Expected] | None = None) -> Finished:
        """Heal, wait, let the clients read back what they wrote, check, and sum up.

        The answer is what `emu up --json` prints at its end; `verdict` is passed, failed or
        untrusted, and `anomalies` says what was wrong; its `expect` asserts. `expect`: not the
        topology's own.
        """
        self._playing.cancel()
        wanted = self.cluster.topology.expect if expect is None else expect
        self.finished = Finished(await self._judge.finish(wanted, self._ran_s))
        return self.finished

    async def interim(self) -> dict[str, Any]:
        """What `emu summary --json` prints: the numbers so far; nothing is stopped or checked."""
        return await self._judge.interim(self.cluster.topology.expect, self._ran_s)

    @property
    def _ran_s(self) -> float:
        return self.now_s - (self.cluster.ready_s or 0.0)


def _is_wanted(event: Event, name: str, wanted: dict[str, Any]) -> bool:
    named = not name or event["event"] == name.replace("-", " ")
    return named and all(event.get(key) == value for key, value in wanted.items())


def _method(kind: type[Fault]) -> Callable[..., Awaitable[Broken]]:
    """The verb of a fault: its fields as arguments, and `for_s`."""
    hints = get_type_hints(kind)
    packs = get_origin(hints[kind.main]) is tuple  # partition("web", "db")

    async def verb(
        self: Scenario, *values: Any, for_s: float | None = None, **options: Any
    ) -> Broken:
        given = (values,) if packs and values else values
        return await self.inject(kind(*given, **options), for_s=for_s)

    parameters = [inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)]
    for each in fields(kind):  # type: ignore[arg-type]
        parameter = inspect.signature(kind).parameters[each.name]
        if packs and each.name == kind.main:
            parameter = inspect.Parameter(each.name, inspect.Parameter.VAR_POSITIONAL)
        elif packs:
            parameter = parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        parameters.append(parameter)
    only_by_name = inspect.Parameter.KEYWORD_ONLY
    parameters.append(inspect.Parameter("for_s", only_by_name, default=None))
    verb.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    verb.__name__ = kind.verb
    verb.__qualname__ = f"Scenario.{kind.verb}"
    verb.__doc__ = inspect.getdoc(kind)
    return verb


for _verb, _kind in verbs().items():
    _name = _verb.replace(" ", "_").replace("-", "_")
    if _name not in vars(Scenario):
        setattr(Scenario, _name, _method(_kind))


# --- opening ---------------------------------------------------------------------------------


@asynccontextmanager
async def cluster(
    topology: str | Path | Topology,
    *,
    world: WorldName = "live",
    seed: int | None = None,
    knobs: Knobs | None = None,
    events: Callable[[Callable[[], float]], Events] = Events,
) -> AsyncIterator[Scenario]:
    """A cluster of that topology (a file, or a loaded one), booted; it is gone after the block.

    `seed`: not the topology's own. `knobs`: how odd a simulated world is, apart from its faults
    (default: not at all). Live disks are temporary. Raises TopologyError; RuntimeError if
    `world="sim"` is asked for outside virtual time.
    """
    plan = topology if isinstance(topology, Topology) else load(topology)
    plan = plan if seed is None else replace(plan, seed=seed)
    failure: BaseException | None = None
    async with (
        _open(world, plan.seed, knobs, events) as opened,
        Cluster(opened, plan, events=opened.events, inject=inject) as running,
    ):
        scenario = Scenario(running)
        await running.boot()
        if about_alerts(plan.expect):
            scenario.look_at_alerts()
        opened.settle()
        try:
            yield scenario
        except (trio.Cancelled, GeneratorExit):
            raise
        except BaseException as error:
            failure = error  # raised below, outside the nurseries, which would wrap it in groups
    if failure is not None:
        raise failure


def run(
    script: Callable[[Scenario], Awaitable[T]],
    topology: str | Path | Topology,
    *,
    world: WorldName = "sim",
    seed: int | None = None,
    knobs: Knobs | None = None,
) -> T:
    """Run `script(c)` on a cluster of that topology, and return what it returned."""
    plan = topology if isinstance(topology, Topology) else load(topology)
    plan = plan if seed is None else replace(plan, seed=seed)

    async def program() -> T:
        async with cluster(plan, world=world, knobs=knobs) as running:
            return await script(running)

    if world == "live":
        return trio.run(program, strict_exception_groups=True)
    outcome = in_virtual_time(program, seed=plan.seed)
    if outcome.error is not None:
        raise outcome.error
    return outcome.value  # type: ignore[return-value]


@asynccontextmanager
async def _open(
    name: WorldName,
    seed: int,
    knobs: Knobs | None,
    events: Callable[[Callable[[], float]], Events],
) -> AsyncIterator[LiveWorld | SimWorld]:
    if name == "sim":
        if not isinstance(trio.lowlevel.current_clock(), SimClock):
            raise RuntimeError(NO_VIRTUAL_TIME)
        async with SimWorld(seed, knobs=knobs or Knobs(), events=events) as simulated:
            yield simulated
        return
    if name != "live":
        raise ValueError(f"there is no world {name!r}: live or sim")
    with tempfile.TemporaryDirectory(prefix="emu-") as folder:
        async with LiveWorld(seed, Path(folder), temporary=True, events=events) as live:
            yield live
