"""How a run ends, in both worlds: heal, wait for progress, final reads, checks, one summary.

The numbers are added up in summary.py, histories are judged in checks/, and what a tier's members
must agree on is declared by its Kind. Nothing here knows a tier.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final, Protocol

import trio

from emu.checks import Claim, check_logs, check_owners, check_replicas
from emu.checks.history import Recorder
from emu.checks.registry import models_of
from emu.checks.result import line
from emu.model.expectations import Expected, to_clear
from emu.model.topology import Tier, Topology
from emu.running.asking import ask_each
from emu.running.supervisor import Cluster
from emu.running.views import leads_now
from emu.verdict import summary as verdict
from emu.verdict.failovers import Failovers
from emu.verdict.leading import Leading
from emu.verdict.long import LongRun
from emu.verdict.promises import (
    Kept,
    Promise,
    clients_of,
    group_of,
    judge_history,
    tell_full,
)
from emu.verdict.watching import Anomaly, Watch
from nodes.kind import StateCheck
from protocols.errors import RpcError

ANSWER_S: Final = 0.3
PROGRESS_ANSWER_S: Final = 2.0
HURRIED_S: Final = 0.6
FINISH_TIMEOUT_S: Final = 45.0
"""What a clients node may take to stop, wait for stragglers and read back."""
HEALED_TIMEOUT_S: Final = 20.0
"""Within so long every node that heals is up again."""
PROGRESS_TIMEOUT_S: Final = 30.0
"""Within so long after healing every clients node has success again, or that is a failure."""
AGREE_TIMEOUT_S: Final = 15.0
POLL_S: Final = 0.25
MOST_NAMED: Final = 4


class Alerting(Protocol):
    """What the end of a run asks of whoever looks at alerts."""

    def fired(self) -> list[dict[str, Any]]: ...
    async def settle(self, names: Sequence[str]) -> None:
        """Wait until none of these fires, in bounds."""
        ...


class Judge:
    """Watches a cluster from before its boot, and sums it up. Make it first, `finish` at last."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.alerting: Alerting | None = None
        """Who looks at alerts, if anybody does."""
        self.waits_for = ""
        """While a run ends: what that waits for, in words."""
        self.sample: Callable[[], Awaitable[None]] | None = None
        """Who counts second by second counts once more: no later than the clients are asked, so
        that neither has more failures than the other."""
        now_s = cluster.world.timers.now_s
        cluster.world.history = Recorder(
            now_s, by_time=cluster.world.in_processes,
            on_full=partial(tell_full, cluster.log), on_many=self._begin_folding,
        )  # fmt: skip
        self._run = LongRun(models_of(tier.kind for tier in cluster.topology.tiers))
        self._promises: dict[str, Promise] = {}
        self._folding: trio.Event | None = None
        """Set once what is judged on the way is taken out of the history."""
        alarming = frozenset(
            event for tier in cluster.topology.tiers for event in tier.kind.alarming
        )
        self.watch = Watch(partial(leads_now, cluster), alarming=alarming)
        self.leading = Leading(cluster)
        self.failovers = Failovers(cluster)
        cluster.events.listeners += [self.watch.look, self.leading.look, self.failovers.look]

    async def interim(
        self, expect: Sequence[Expected], ran_s: float, *, sampled: bool = False
    ) -> dict[str, Any]:
        """The numbers so far; nothing is stopped or checked, and what is unknown is no failure.
        `sampled`: they go with samples."""
        return await self._summarize(expect, ran_s, {}, complete=False, sampled=sampled)

    async def hurry(self, expect: Sequence[Expected], ran_s: float) -> dict[str, Any]:
        """The end of a run that was ended by hand: if nothing is broken, the clients have a moment
        to read back; what they cannot tell is unknown."""
        instances = self.cluster.instances.values()
        whole = not self.cluster.active and all(instance.state == "up" for instance in instances)
        answers = await self._ask_clients("finish", HURRIED_S) if whole else {}
        return await self._summarize(expect, ran_s, answers, complete=False)

    async def finish(self, expect: Sequence[Expected], ran_s: float) -> dict[str, Any]:
        """Heal, wait, let the clients read back what they wrote, check, sum up.

        `ran_s`: how long the run was, for its rates. The summary's keys: see summary.py.
        """
        cluster = self.cluster
        was_broken = bool(cluster.timeline)
        self.waits_for = f"faults to be healed ({HEALED_TIMEOUT_S:g} s at most)"
        await self._heal()
        stuck = await self._wait_until_healed()
        if was_broken:
            stuck += await self._wait_for_progress()
        if self.alerting is not None:
            self.waits_for = "alerts that are expected to clear"
            await self.alerting.settle(to_clear(expect))
        self.waits_for = f"clients, who read back what they wrote ({FINISH_TIMEOUT_S:g} s at most)"
        answers = await self._ask_clients("finish", FINISH_TIMEOUT_S)
        if not was_broken:
            stuck += _unanswered(answers)
        worked = await self._ask_clients("finish", FINISH_TIMEOUT_S, self._workers())
        stuck += _unread(answers)
        fidelity = cluster.world.fidelity()  # nothing is measured any more, and judging takes time
        self.waits_for = f"replicas to agree ({AGREE_TIMEOUT_S:g} s at most)"
        absent = self._absent()
        unlike = await self._check_states(absent)
        flipped = any(each.get("flip_bit") for each in cluster.timeline)
        damaged = flipped or not cluster.world.honest_disks
        await cluster.in_force()  # all that was seen elsewhere is told by then
        if self._folding is not None:
            await self._folding.wait()
        kept = self._judge_history({**answers, **worked})
        kept.broken.unknown += [
            f"{name} could not be read: it waited for {why}" for name, why in absent.items()
        ]
        wrong = [
            Anomaly(each.model, str(each), tuple(map(line, each.operations)), each.span_s)
            for each in kept.broken.anomalies
        ]
        broken = self.watch.anomalies(damaged=damaged)
        if not damaged:
            broken += [Anomaly("state", each) for each in self.leading.found]
        if damaged:  # then only this can be asked
            permitted = len(kept.permitted.anomalies) + len([*wrong, *unlike, *stuck])
            kept = Kept(judged=kept.judged)
            return await self._summarize(
                (), ran_s, answers, broken, kept=kept, permitted=permitted, fidelity=fidelity
            )
        return await self._summarize(
            expect,
            ran_s,
            answers,
            [*broken, *wrong, *unlike, *stuck, *self._impossible()],  # what explains most is first
            kept=kept,
            permitted=len(kept.permitted.anomalies),
            fidelity=fidelity,
        )

    def _impossible(self) -> list[Anomaly]:
        """What the topology's own timeline asked for, and could not be."""
        plans = [each for each in self.cluster.planned if each.problem]
        return [Anomaly("timeline", each.not_run) for each in plans]

    # --- healing and progress ----------------------------------------------------------------

    async def _heal(self) -> None:
        """In bounds: a process that hangs never says that a node of it has started."""
        with self.cluster.operator.move_on_after(HEALED_TIMEOUT_S):
            await self.cluster.heal()

    async def _wait_until_healed(self) -> list[Anomaly]:
        """Start whatever gave up under a fault, and wait until everything runs."""
        cluster = self.cluster
        for name in [
            name for name, instance in cluster.instances.items() if instance.state == "failed"
        ]:
            if name in cluster.instances and not cluster.instances[name].running:
                await cluster.start(name, patient=False)
        down: list[str] = []
        most = f"({HEALED_TIMEOUT_S:g} s at most)"
        give_up_s = self._now_s() + HEALED_TIMEOUT_S
        while self._now_s() < give_up_s:
            down = [name for name, instance in cluster.instances.items() if instance.state != "up"]
            absent = self._absent()
            self.waits_for = f"{_some(absent.values()) or f'{_some(down)} to be up'} {most}"
            if not down and not cluster.active:
                return []
            await cluster.operator.sleep(POLL_S)
            await self._heal()  # what had begun before may have ended only now
        here = [name for name in down if name not in self._absent()]
        if down and not here:
            return []
        states = ", ".join(f"{name} ({cluster.instances[name].state})" for name in here)
        text = f"not up {HEALED_TIMEOUT_S:g} s after healing, at {self._now_s():.3f} s: {states}"
        return [Anomaly("liveness", text, self.watch.told())]

    def _absent(self) -> dict[str, str]:
        """Nodes that nobody runs, as their process has not come; each with what it waits for."""
        waiting = {name: each.handle.waits_for for name, each in self.cluster.instances.items()}
        return {name: why for name, why in waiting.items() if why}

    async def _wait_for_progress(self) -> list[Anomaly]:
        """Every clients node must have a success of its own again."""
        first: dict[str, int] = {}
        waiting = dict.fromkeys(self._clients(), "no answer of its own")
        give_up_s = self._now_s() + PROGRESS_TIMEOUT_S
        while waiting and self._now_s() < give_up_s:
            answers = await self._ask_clients("summary", PROGRESS_ANSWER_S, list(waiting))
            for name, answer in answers.items():
                if answer["ok"] > first.setdefault(name, answer["ok"]):
                    del waiting[name]
                else:
                    waiting[name] = f"failures by reason: {_counts(answer['reasons'])}"
            most = f"{PROGRESS_TIMEOUT_S:g} s at most"
            self.waits_for = f"a request of {_some(waiting)} to be answered well ({most})"
            await self.cluster.operator.sleep(POLL_S)
        bound = f"{PROGRESS_TIMEOUT_S:g} s after healing, at {self._now_s():.3f} s,"
        return [
            Anomaly("liveness", f"{bound} {name} has had no success yet; {why}", self.watch.told())
            for name, why in waiting.items()
        ]

    def _now_s(self) -> float:
        return self.cluster.world.timers.now_s()

    # --- asking ------------------------------------------------------------------------------

    def _clients(self) -> list[str]:
        instances = self.cluster.instances
        return [name for name, instance in instances.items() if instance.placement.kind.clients]

    def _workers(self) -> list[str]:
        instances = self.cluster.instances
        return [name for name, instance in instances.items() if instance.placement.kind.works]

    async def _ask_clients(
        self, method: str, timeout_s: float, names: list[str] | None = None
    ) -> dict[str, dict[str, Any]]:
        """The answers of the clients nodes (or of `names`); who says nothing is warned of."""
        cluster = self.cluster
        answers = await ask_each(
            self._clients() if names is None else names,
            lambda name: cluster.call_admin(name, method, timeout_s=timeout_s),
        )
        for name, answer in answers.items():
            if isinstance(answer, RpcError):
                cluster.log.warning("client did not answer", node=name, why=str(answer))
        return {name: each for name, each in answers.items() if isinstance(each, dict)}

    async def _describe(self) -> Iterable[Mapping[str, Any]]:
        cluster = self.cluster
        names = [
            name
            for name, instance in cluster.instances.items()
            if instance.placement.kind.roles and instance.running
        ]
        answers = await ask_each(
            names, lambda name: cluster.call_admin(name, "describe", timeout_s=ANSWER_S)
        )
        return [each for each in answers.values() if isinstance(each, dict)]

    # --- checks ------------------------------------------------------------------------------

    async def _check_states(self, absent: Collection[str]) -> list[Anomaly]:
        """Ask the members what their Kind declares, until it is right or the time is over."""
        found = []
        for check, tiers in _state_checks(self.cluster.topology):
            problem = await self._check_state(check, tiers, absent)
            if problem:
                found.append(Anomaly("state", problem))
        return found

    async def _check_state(
        self, check: StateCheck, tiers: Sequence[str], absent: Collection[str]
    ) -> str:
        cluster = self.cluster
        give_up_s = self._now_s() + AGREE_TIMEOUT_S
        while True:
            names = [
                name
                for name, each in cluster.instances.items()
                if each.spec.tier in tiers and name not in absent
            ]
            answers = await ask_each(names, lambda name: cluster.call_admin(name, check.method))
            answers = {name: each for name, each in answers.items() if not _has_no_state(each)}
            silent = [name for name, each in answers.items() if isinstance(each, RpcError)]
            problem = f"no answer from {', '.join(silent)}" if silent else _problem(check, answers)
            if not problem or self._now_s() >= give_up_s:
                return problem
            await cluster.operator.sleep(POLL_S)

    def _judge_history(self, answers: Mapping[str, Mapping[str, Any]]) -> Kept:
        """What the clients did, by what each of them says that it was promised."""
        cluster = self.cluster
        recorder = cluster.world.history
        if not isinstance(recorder, Recorder):
            return Kept()
        recorder.sort()
        self._hear_promises(answers)
        by_hand = self.watch.by_hand
        return judge_history(cluster.topology, recorder, self._promises, self._run, by_hand)

    def _hear_promises(self, answers: Mapping[str, Mapping[str, Any]]) -> None:
        for name, answer in answers.items():
            self._promises[self.cluster.instances[name].spec.tier] = Promise(
                str(answer.get("guarantee", "")), bool(answer.get("promised", True))
            )

    def _begin_folding(self) -> None:
        """Much is recorded."""
        if self._folding is None:
            self._folding = trio.Event()
            self.cluster.nursery.start_soon(self._fold)

    async def _fold(self) -> None:
        """Judge what is over, and take it out: a long run's history would fill the memory."""
        cluster, recorder = self.cluster, self.cluster.world.history
        assert isinstance(recorder, Recorder) and self._folding is not None
        names = [*self._clients(), *self._workers()]
        self._hear_promises(await self._ask_clients("summary", PROGRESS_ANSWER_S, names))
        tiers = clients_of(cluster.topology)
        guarantees = {tier: each.guarantee for tier, each in self._promises.items()}
        for _ in self._run.fold(recorder, self._now_s(), partial(group_of, tiers), guarantees):
            await trio.lowlevel.checkpoint()
        self._folding.set()
        self._folding = None

    async def _summarize(
        self,
        expect: Sequence[Expected],
        ran_s: float,
        answers: Mapping[str, Mapping[str, Any]],
        anomalies: Sequence[Anomaly] = (),
        *,
        kept: Kept | None = None,
        permitted: int = 0,
        complete: bool = True,
        sampled: bool = True,
        fidelity: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        cluster = self.cluster
        described = await self._describe()
        if sampled and self.sample is not None:
            await self.sample()
        silent = [name for name in self._clients() if name not in answers]
        answers = {**answers, **await self._ask_clients("summary", ANSWER_S, silent)}
        kept = kept or Kept()
        self_counting = [
            cluster.instances[name].spec.tier for name, each in answers.items() if "lost" in each
        ]
        return verdict.summarize(
            name=cluster.topology.name,
            sample=cluster.topology.sample,
            nodes=len(cluster.instances),
            ready_s=cluster.ready_s or 0.0,
            ran_s=ran_s,
            clients=[
                {
                    **answer,
                    "tier": cluster.instances[name].spec.tier,
                    "region": cluster.instances[name].spec.region,
                }
                for name, answer in answers.items()
            ],
            fidelity=fidelity or cluster.world.fidelity(),
            expectations=expect,
            failover_s=self.failovers.longest_s(self._now_s()),
            divergent_records=sum(int(each.get("divergent_records", 0)) for each in described),
            faults=cluster.timeline,
            anomalies=[each.as_fields() for each in anomalies],
            permitted_anomalies=permitted,
            judged=[
                {**each.as_fields(), "counts_itself": each.clients in self_counting}
                for each in kept.judged
            ],
            lost=[lost for each in kept.judged for lost in each.lost_writes()],
            undecided=kept.broken.unknown,
            alerts=self.alerting.fired() if self.alerting is not None else None,
            not_run=[each.not_run for each in cluster.planned if each.not_run],
            by_hand=[each for told in self.watch.by_hand.values() for each in told],
            complete=complete,
        )


def _unanswered(answers: Mapping[str, Mapping[str, Any]]) -> list[Anomaly]:
    """Nothing was ever broken, so who asked has been answered; if only while warming up."""
    found = []
    for name, answer in answers.items():
        reasons = ", ".join(f"{count} × {why}" for why, count in answer.get("reasons", {}).items())
        why = answer.get("unanswered") or reasons
        if why and not answer.get("ok"):
            found.append(Anomaly("liveness", f"{name} never had a good answer: {why}"))
    return found


def _unread(answers: Mapping[str, Mapping[str, Any]]) -> list[Anomaly]:
    """Nothing is broken any more, so what was written can be read back."""
    return [
        Anomaly("liveness", f"{name} could not read back what it wrote{_answered(answer)}")
        for name, answer in answers.items()
        if answer.get("final_read") == "failed"
    ]


def _answered(answer: Mapping[str, Any]) -> str:
    told = answer.get("final_answer")
    return f"; it was answered: {told}" if told else ""


def _has_no_state(answer: Any) -> bool:
    """A witness, for example, holds nothing that could differ."""
    return isinstance(answer, RpcError) and answer.code == "no_such_method"


def _problem(check: StateCheck, answers: Mapping[str, Any]) -> str:
    """What is wrong with the answers, or ""."""
    if check.model == "replicas":
        found = check_replicas(answers)
    elif check.model == "logs":
        found = check_logs(_aligned(answers))
    else:
        claims = (
            Claim(slot, epoch, name) for name, each in answers.items() for slot, epoch in each
        )
        found = check_owners(claims)
    return "; ".join(str(each) for each in found)


def _aligned(logs: Mapping[str, Mapping[str, Any]]) -> dict[str, list[Any]]:
    """The records of each log from where all of them have records, with their LSNs."""
    first_lsn = max((each["first_lsn"] for each in logs.values()), default=0)
    return {
        name: [
            (lsn, *record)
            for lsn, record in enumerate(each["records"], each["first_lsn"])
            if lsn >= first_lsn
        ]
        for name, each in logs.items()
    }


def _counts(reasons: Mapping[str, int]) -> str:
    """`timeout 3, unavailable 40`."""
    return ", ".join(f"{reason} {count}" for reason, count in reasons.items()) or "none, it hangs"


def _some(names: Collection[str]) -> str:
    """The first of them, and how many more there are."""
    more = len(names) - MOST_NAMED
    return ", ".join([*names][:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _state_checks(topology: Topology) -> list[tuple[StateCheck, tuple[str, ...]]]:
    """Every check with the tiers whose members it is asked of."""
    found: list[tuple[StateCheck, tuple[str, ...]]] = []
    for tier in topology.tiers:
        for check in tier.kind.checks:
            group = _group(topology, tier) if check.across_group else (tier.name,)
            if (check, group) not in found:
                found.append((check, group))
    return found


def _group(topology: Topology, tier: Tier) -> tuple[str, ...]:
    if not tier.group:
        return (tier.name,)
    alike = (each for each in topology.tiers if each.kind is tier.kind)
    return tuple(each.name for each in alike if each.group == tier.group)
