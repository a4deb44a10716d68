"""One stream of transactions on plain SQLite, and on copies that take turns as primary; one copy
alone begins again and again from its snapshot and its log."""

from __future__ import annotations

import random
import re
from typing import Any

import apsw

from nodes.sql.chance import Chance
from nodes.sql.changes import quoted
from nodes.sql.digest import everything
from nodes.sql.rules import LIMITS
from nodes.sql.state import SqlState
from protocols.errors import RpcError
from protocols.replication.pieces import Pieces
from protocols.stepping import at_once
from tests.nodes.sql.rig import NAMES, executed, state
from tests.nodes.sql.soak.generator import Generator

HOUSE = re.compile(
    "PRIMARY KEY that is NOT NULL|AUTOINCREMENT|hide the rowid|must be STORED|stopped: |too large"
    "|too_large|rowid [0-9]+ is the last|not UTF-8|no UTF-8|not allowed|too complex"
    "|schema changes into a batch|belongs to the database|names too much|: too many |: at most "
    "|leaves undefined|REPLACE deleted"
)
"""What we refuse and SQLite would do."""
LOOK_EVERY = 100
MAX_STEPS = 20_000_000


class Plain:
    """SQLite alone, with the same clock and dice."""

    def __init__(self) -> None:
        name = f"plain-{next(NAMES)}"
        self.rng = random.Random(0)
        self._chance = Chance(name, lambda: 1e9, self.rng)
        self.db = apsw.Connection(":memory:", vfs=name)
        self.db.create_scalar_function("random", lambda: self.rng.getrandbits(64) - (1 << 63), 0)
        self.db.execute("PRAGMA foreign_keys=ON")
        for limit in (apsw.SQLITE_LIMIT_TRIGGER_DEPTH, apsw.SQLITE_LIMIT_LENGTH):
            self.db.limit(limit, LIMITS[limit])
        total = "total_changes"
        self._before = 0
        self.db.create_scalar_function(total, lambda: self.db.total_changes() - self._before, 0)
        self.db.execute("CREATE TEMP TABLE plain_nothing (x)")

    def run(self, batch: list[str], seed: int) -> list[list[list[Any]]]:
        """Raises apsw.Error, and UnicodeDecodeError: nothing has happened then."""
        self.rng.seed(seed)
        self._before = self.db.total_changes()
        self.db.set_last_insert_rowid(0)
        self.db.execute("DELETE FROM temp.plain_nothing WHERE 0")  # changes() is of this alone
        self.db.execute("SAVEPOINT plain")
        try:
            answers = [[list(row) for row in self.db.execute(sql)] for sql in batch]
            self.db.execute("RELEASE plain")
        except Exception:
            if not self.db.getautocommit():
                self.db.execute("ROLLBACK TO plain")
                self.db.execute("RELEASE plain")
            raise
        return answers


class Soak:
    """Raises AssertionError with all that it takes to see it again."""

    def __init__(self, seed: int, nodes: int = 3) -> None:
        self.rng = random.Random(f"soak/{seed}")
        self.seed = seed
        self.generator = Generator(self.rng)
        self.copies = [state() for _ in range(nodes)]
        self.plain = Plain()
        self.waiting: list[list[bytes]] = [[] for _ in range(nodes)]
        self.snapshot: Pieces | None = None
        self.log: list[bytes] = []
        """Of one copy alone: the records behind its snapshot."""
        self.primary = 0
        self.lsn = 0
        self.statements = self.done = 0
        self.past: list[list[str]] = []

    def run(self, statements: int) -> None:
        """At least so many, and then a last look."""
        while self.statements < statements:
            self._transaction()
            if self.lsn % LOOK_EVERY == 0:
                self._look()
        self._look()

    def close(self) -> None:
        for copy in self.copies:
            copy.close()

    def _transaction(self) -> None:
        batch = self.generator.batch() if self.lsn else self.generator.first()
        self.lsn += 1
        self.statements += len(batch)
        made = self.copies[self.primary]
        moment = made.chance.moment()
        rehearsed = None
        try:
            if self.rng.random() < 0.05:
                with made.chance.repeating(moment):
                    rehearsed = [each["rows"] for each in made.rehearse(batch)]
            with made.chance.repeating(moment):
                request_id = f"r{self.lsn}" if self.rng.random() < 0.1 else ""
                done = executed(made, batch, self.lsn, request_id)
        except RpcError as error:
            self._refused(batch, moment.seed, error)
            return None
        self.past.append(batch)
        answers = [each["rows"] for each in done.results]
        if rehearsed is not None:
            self._same(batch, answers, rehearsed, "answered, and then committed")
        try:
            wanted = self.plain.run(batch, moment.seed)
        except UnicodeDecodeError:
            return self._astray()
        except apsw.Error as error:
            raise AssertionError(f"{self._where(batch)}: SQLite refuses: {error!r}") from error
        self._same(batch, answers, wanted, "SQLite's answer")
        self.done += len(batch)
        if done.record is not None:
            self.log.append(done.record)
            for number, waiting in enumerate(self.waiting):
                if number != self.primary:
                    waiting.append(done.record)
        return None

    def _astray(self) -> None:
        """A text that plain apsw cannot show: ours did what it may; begin again from nothing."""
        self.close()
        self.__init__(self.rng.getrandbits(32), len(self.copies))  # type: ignore[misc]

    def _refused(self, batch: list[str], seed: int, refusal: RpcError) -> None:
        if HOUSE.search(str(refusal)):
            return
        try:
            self.plain.run(batch, seed)
        except (apsw.Error, UnicodeDecodeError):
            return
        raise AssertionError(f"{self._where(batch)}: refused: {refusal}")

    def _same(self, batch: list[str], answers: Any, wanted: Any, what: str) -> None:
        if any("EXPLAIN" in sql for sql in batch):
            return  # SQLite deletes all rows at once where nobody notes them
        assert repr(answers) == repr(wanted), (
            f"{self._where(batch)}: {answers} is not {what}: {wanted}"
        )

    def _where(self, batch: list[str]) -> str:
        return f"seed {self.seed}, transaction {self.lsn}: {batch}"

    def _look(self) -> None:
        """All copies are equal, and as SQLite; then another is primary, or all begins again."""
        for copy, waiting in zip(self.copies, self.waiting, strict=True):
            if waiting:
                copy.apply_batch(waiting)
                waiting.clear()
        first, *others = [copy.digests() for copy in self.copies]
        for other in others:
            assert other == first, f"seed {self.seed}, transaction {self.lsn}: {first} {other}"
        self._as_plain(self.copies[self.primary])
        if others:
            self._promote()
        else:
            self._restart(first)

    def _promote(self) -> None:
        """Another is primary; one begins anew from a peer's snapshot."""
        self.log.clear()
        self.primary = self.rng.randrange(len(self.copies))
        if self.rng.random() < 0.3:
            place = self.rng.randrange(len(self.copies))
            pages = at_once(self.rng.choice(self.copies).dump_in_steps())
            at_once(self.copies[place].load_in_steps(pages))()

    def _restart(self, digests: dict[str, str]) -> None:
        """From its snapshot and its log; sometimes it makes another snapshot."""
        (before,), again = self.copies, state()
        if self.snapshot is not None:
            at_once(again.load_in_steps(self.snapshot))()
        if self.log:
            again.apply_batch(self.log)
        assert again.digests() == digests, f"seed {self.seed}, transaction {self.lsn}: {self.log}"
        if self.rng.random() < 0.3:
            self.snapshot = at_once(again.dump_in_steps())
            self.log.clear()
        before.close()
        self.copies = [again]

    def _as_plain(self, made: SqlState) -> None:
        assert made._own("PRAGMA integrity_check") == [("ok",)]
        for name in made.digests():
            if name.startswith(("emu_", "sqlite_")):
                continue
            shown = everything(made.db, made._layouts, name)
            query = f"SELECT {shown} FROM {quoted(name)}"
            ours, theirs = made._own(query), list(self.plain.db.execute(query))
            assert repr(ours) == repr(theirs), f"seed {self.seed}, by {self.lsn}: {name}"
