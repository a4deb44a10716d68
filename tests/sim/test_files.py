"""The forgetful files against a model of what an ordered journal may leave, over many seeds."""

from __future__ import annotations

import random

import pytest

from emu.sim.files import SECTOR_BYTES, Habits, SimFiles

NAMES = ("a", "b", "c")


class Model:
    """Each durable point of the past that a power cut may come back to: names → inode numbers."""

    def __init__(self) -> None:
        self.names: dict[str, int] = {}
        self.possible: list[dict[str, int]] = [{}]
        self.content: list[bytes] = []
        """By inode: all that is in it now."""
        self.durable: list[bytes] = []
        """By inode: what must be there if its file is."""

    def changed(self) -> None:
        self.possible.append(dict(self.names))

    def committed(self) -> None:
        """All that was done so far is durable."""
        del self.possible[:-1]


def one_step(rng: random.Random, files: SimFiles, model: Model) -> None:
    name = rng.choice(NAMES)
    await_it = rng.random() < 0.5
    number = model.names.get(name)
    match rng.choice(("append", "append", "append", "sync", "rename", "remove")):
        case "append":
            data = rng.randbytes(rng.choice((1, 300, 1500))).replace(b"\0", b"x")
            files.append(name, data)
            if number is None:
                number = model.names[name] = len(model.content)
                model.content.append(b"")
                model.durable.append(b"")
                model.changed()
            model.content[number] += data
        case "sync" if number is not None:
            files.begin_sync(name).commit()
            model.durable[number] = model.content[number]
            model.committed()
        case "rename" if number is not None:
            new = rng.choice([each for each in NAMES if each != name])
            pending = files.rename(name, new)
            model.names[new] = model.names.pop(name)
            model.changed()
            if await_it:
                pending.commit()
                model.committed()
        case "remove" if number is not None:
            pending = files.remove(name)
            del model.names[name]
            model.changed()
            if await_it:
                pending.commit()
                model.committed()


def check_after_cut(files: SimFiles, model: Model) -> None:
    def fits(names: dict[str, int]) -> bool:
        return sorted(names) == files.names() and all(
            files.read(name, 0, 1 << 20).startswith(model.durable[number])
            and may_be_left(files.read(name, 0, 1 << 20), model.content[number])
            for name, number in names.items()
        )

    assert any(fits(names) for names in model.possible)
    total = sum(files.size_bytes(name) for name in files.names())
    assert files.used_bytes == total


def may_be_left(left: bytes, written: bytes) -> bool:
    """Every byte is what was written there, or lost."""
    return len(left) <= len(written) and all(
        byte in (0, was) for byte, was in zip(left, written, strict=False)
    )


@pytest.mark.parametrize("seed", range(40))
def test_a_power_cut_leaves_a_state_that_the_journal_allows(seed):
    rng = random.Random(f"ops/{seed}")
    files = SimFiles("n", random.Random(f"disk/{seed}"))
    model = Model()
    for _ in range(rng.randint(1, 60)):
        one_step(rng, files, model)
    assert files.names() == sorted(model.names)
    assert files.used_bytes == sum(len(model.content[each]) for each in model.names.values())
    files.cut()
    check_after_cut(files, model)


def after_a_cut(seed: int, *, synced: bytes, unsynced: bytes, **habits: float) -> bytes:
    files = SimFiles("n", random.Random(f"disk/{seed}"), habits=Habits(**habits))
    files.append("log", synced)
    files.begin_sync("log").commit()
    files.append("log", unsynced)
    files.cut()
    return files.read("log", 0, 1 << 20) if "log" in files.names() else b""


def fate(sector: bytes, written: bytes) -> str:
    if sector == written:
        return "kept"
    return "torn" if sector.strip(b"\0") else "lost"


def test_each_unsynced_sector_is_kept_lost_or_torn():
    written = random.Random(1).randbytes(4 * SECTOR_BYTES).replace(b"\0", b"x")
    fates, lengths = set(), set()
    for seed in range(200):
        left = after_a_cut(seed, synced=b"s" * SECTOR_BYTES, unsynced=written)
        assert left.startswith(b"s" * SECTOR_BYTES)
        tail = left[SECTOR_BYTES:]
        lengths.add(len(tail))
        for start in range(0, len(tail), SECTOR_BYTES):
            end = min(start + SECTOR_BYTES, len(tail))
            fates.add(fate(tail[start:end], written[start:end]))
    assert fates == {"kept", "lost", "torn"}
    assert {0, len(written)} < lengths, "the length may be lost, kept, or anything between"


def test_a_later_sector_may_survive_an_earlier_one():
    """Sectors are written in no order: a log reader must not trust what follows a hole."""
    written = b"x" * (8 * SECTOR_BYTES)
    holes = 0
    for seed in range(50):
        left = after_a_cut(seed, synced=b"", unsynced=written)
        sectors = [left[at : at + SECTOR_BYTES] for at in range(0, len(left), SECTOR_BYTES)]
        fates = [fate(each, b"x" * len(each)) for each in sectors]
        holes += "kept" in fates[fates.index("lost") :] if "lost" in fates else 0
    assert holes


def test_a_sync_that_lies_covers_nothing():
    left = [
        after_a_cut(seed, synced=b"promised" * 200, unsynced=b"", lying_sync_ratio=1.0)
        for seed in range(20)
    ]
    assert any(each != b"promised" * 200 for each in left)


def test_a_late_sync_takes_longer_and_is_honest():
    files = SimFiles("n", random.Random(1), habits=Habits(late_sync_ratio=0.5, late_sync_s=0.5))
    files.append("log", b"x")
    late_s = [files.begin_sync("log").late_s for _ in range(200)]
    assert 60 < sum(each > 0 for each in late_s) < 140
    assert max(late_s) <= 0.5
    files.begin_sync("log").commit()
    files.cut()
    assert files.read("log", 0, 10) == b"x"


def test_a_flipped_bit_stays_flipped():
    files = SimFiles("n", random.Random(1))
    files.append("log", b"abc")
    files.begin_sync("log").commit()
    files.flip_bit("log", 1, 0)
    files.cut()
    assert files.read("log", 0, 10) == b"acc"
