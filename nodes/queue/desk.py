"""Where the primary's decisions become facts: what is decided in one record is here until it is
packed. Pure; which decisions there are is in publishing.py, grouping.py and working.py.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, Protocol

import msgpack

from nodes.queue.assigning import Where
from nodes.queue.deadlines import Deadlines
from nodes.queue.state import Fact, QueueState, Topic
from nodes.replica.family import Group, Outcome
from protocols.errors import RpcError
from protocols.queue.placement import home_of, place_of

RECORD_BYTES: Final = 96 * 1024
"""A record is closed once it holds so much; with one more whole batch it fits the log's limit."""

Request = Callable[[], Any]
"""A decision: it raises RpcError, and then nothing has changed; or returns what is answered."""


class Home(NamedTuple):
    """Which of the queue's broker groups this is."""

    place: int
    tiers: tuple[str, ...]

    def has(self, partitions: int) -> list[int]:
        """The partitions of a topic of so many that live here."""
        return [each for each in range(partitions) if self.tier_of(each) == self.place]

    def tier_of(self, partition: int) -> int:
        return place_of(partition, len(self.tiers))

    def check_home(self, name: str, what: str) -> None:
        """Raises RpcError if another broker group keeps what goes by that name."""
        home = home_of(name, len(self.tiers))
        if home != self.place:
            tier = self.tiers[home]
            raise RpcError("moved", f"{what} {name[:40]!r} lives at {tier}", -1, tier)


class Range(NamedTuple):
    """Where a partition begins and ends."""

    start: int
    end: int


class Desk:
    """Facts that are decided and done, and not yet written."""

    def __init__(
        self,
        state: QueueState,
        home: Home,
        now_ms: Callable[[], int],
        now_s: Callable[[], float],
        reached: Callable[[str], object] = str,
    ) -> None:
        """The wall clock of this machine, and the one that never goes back; whom to tell of
        states (reach.py)."""
        self.reached = reached
        self.state = state
        self.home = home
        self.now_ms = now_ms
        self.now_s = now_s
        self.deadlines = Deadlines()
        self.facts: list[Fact] = []
        """Of the request that is being decided."""
        self.fact_bytes = 0
        """Of the requests before it in this record."""
        self.lsn = 0
        """Of the record that is being made."""
        self.record_ms = 0
        """When that record is made: all that it publishes came then."""
        self.woken: dict[tuple[str, int], None] = {}
        """(topic, partition) where something came, or may be taken again."""
        self.has_dying = False
        """Something failed for good since this was looked at."""
        self.elsewhere: dict[Where, Range] = {}
        """Partitions of other broker groups that consumer groups of this one read, as last heard
        (elsewhere.py)."""
        self.next_ms: dict[tuple[str, str, int], int] = {}
        """(consumer group, *such a partition) → the time of the record that it reads next."""
        self._marks: dict[tuple[str, int], deque[tuple[int, int]]] = {}
        """Of each partition: (LSN, where it ended before that record)."""

    def begin_record(self, lsn: int) -> None:
        """What is decided from now on is one record."""
        self.lsn, self.record_ms = lsn, self.now_ms()

    def do(self, *fact: Any) -> None:
        """Decide: it is so from now on."""
        self.state.apply(fact)
        self.facts.append(fact)

    def topic(self, name: Any) -> Topic:
        """Raises RpcError."""
        topic = self.state.topics.get(name) if type(name) is str else None
        if topic is None:
            raise RpcError("not_found", f"there is no topic {str(name)[:100]!r}")
        return topic

    def check_partition(self, topic: Topic, number: Any) -> int:
        """Raises RpcError unless it is one of the topic's that live here."""
        if type(number) is not int or not 0 <= number < topic.options.partitions:
            raise RpcError(
                "bad_request", f"{topic.name} has partitions 0 to {topic.options.partitions - 1}"
            )
        if number not in topic.partitions:
            tier = self.home.tiers[self.home.tier_of(number)]
            raise RpcError("moved", f"{topic.name}/{number} lives at {tier}", number, tier)
        return number

    # --- the high watermark --------------------------------------------------------------

    def grows(self, topic: str, number: int, end: int) -> None:
        """The partition has ended here so far, and gets more in the record that is being made."""
        where = topic, number
        self.woken[where] = None
        marks = self._marks.get(where)
        if marks is None:
            marks = self._marks[where] = deque()
        if not marks or marks[-1][0] < self.lsn:
            marks.append((self.lsn, end))

    def high_watermark(self, topic: Topic, number: int, committed_lsn: int) -> int:
        """Where the partition ends as far as no failover can lose it."""
        marks = self._marks.get((topic.name, number))
        while marks and marks[0][0] <= committed_lsn:
            marks.popleft()
        return marks[0][1] if marks else topic.partitions[number].end

    def begin_office(self, *, anew: bool) -> None:
        """Another state than before: what was noted of the old one means nothing. Where it is not
        an office `anew`, the state went back to what the same log says, and what of that is not
        safe yet is what it was."""
        if anew:
            self._marks.clear()
        self.deadlines.clear()
        self.elsewhere.clear()
        self.next_ms.clear()
        self.has_dying = True


class Decisions:
    """The family of requests (nodes/replica/group_commit.py)."""

    def __init__(
        self,
        desk: Desk,
        enter: Callable[[], object],
        wake: Callable[[], object],
        count: Counting,
    ) -> None:
        """`enter` is called before the first decision of a group, `wake` after the last."""
        self._desk = desk
        self._enter = enter
        self._wake = wake
        self._count = count
        self._packer = msgpack.Packer(autoreset=True)

    def execute(self, asked: Sequence[Request], lsn: int) -> Group:
        """family.Family."""
        desk, pack = self._desk, self._packer.pack
        facts = desk.facts
        desk.begin_record(lsn)
        self._enter()
        outcomes: list[Outcome] = []
        packed: list[bytes] = []
        for request in asked:
            try:
                outcomes.append(Outcome(request()))
            except RpcError as refusal:
                outcomes.append(Outcome(None, refusal))
            for fact in facts:
                data = pack(fact)
                packed.append(data)
                desk.fact_bytes += len(data)
            facts.clear()
            if desk.fact_bytes > RECORD_BYTES:
                break
        desk.fact_bytes = 0
        self._wake()
        if not packed:
            return Group(outcomes, None)
        return Group(outcomes, b"".join([self._packer.pack_array_header(len(packed)), *packed]))

    def answer(self, results: Any, lsn: int) -> Any:
        """family.Family."""
        return results

    def acknowledged(self, requests: int, seconds: float) -> None:
        self._count.committed(requests, seconds)

    def refused(self, requests: int) -> None:
        self._count.refused(requests)


class Counting(Protocol):
    """What is counted of requests (series.py)."""

    def committed(self, requests: int, seconds: float) -> None:
        """So many are committed, so long after they were executed."""
        ...

    def refused(self, requests: int) -> None:
        """So many changed nothing."""
        ...
