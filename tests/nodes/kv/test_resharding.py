"""What a reshard asks for, and how its plan, its progress and its end read."""

from __future__ import annotations

import random
from typing import Any

import pytest

from nodes.kv.resharding import RESHARD, Reshard, progress_of, wanted
from nodes.operations import Ended, Reach

MOVES = [
    {"phase": "done", "slots": 512, "keys": 10, "bytes": 900, "pause_s": 0.002},
    {"phase": "done", "slots": 512, "keys": 20, "bytes": 100, "pause_s": 0.001},
    {"phase": "aborted", "slots": 512},
    {"phase": "copying", "slots": 512},
]


def seen(**fields: Any) -> dict[str, Any]:
    return {
        "plan": "plan-7", "outcome": "", "map_version": 3, "moves": MOVES,
        "shards": ["kv-shard-1", "kv-shard-2"], "shares": {"kv-shard-1": 9000, "kv-shard-2": 7384},
        **fields,
    }  # fmt: skip


def test_it_asks_for_the_shards_by_name_with_the_options_that_were_said() -> None:
    assert RESHARD.begin is not None and RESHARD.plan is not None
    plain, chosen = Reshard("kv", 2), Reshard("kv", 3, "ring", rate_per_s=0.5)
    assert RESHARD.begin.params(plain) == [["kv-shard-1", "kv-shard-2"], {}]
    names, options = RESHARD.begin.params(chosen)
    assert (len(names), options) == (3, {"partitioner": "ring", "keys_per_s": 1})
    assert RESHARD.plan.params(chosen)[1] == {"partitioner": "ring"}
    for to in (0, 257):
        with pytest.raises(ValueError, match=f"a kv tier has 1 to 256 shards, not {to}"):
            wanted(Reshard("kv", to))


def test_its_progress_counts_slots_and_an_aborted_move_once() -> None:
    found = progress_of(seen())
    assert (found.done, found.of, found.over) == (1024, 1536, False)
    assert found.text == "30 keys, 1000 bytes, longest pause 2.0 ms"
    over = progress_of(seen(plan="", outcome="done", moves=MOVES[:2]))
    assert over.over and over.tiers == ("kv-shard-1", "kv-shard-2")


def test_its_result_has_the_figures_for_scripts_and_a_table_for_people() -> None:
    last = progress_of(seen(plan="", outcome="done", moves=MOVES[:3]))
    result = RESHARD.result(Ended({}, last, {"redirects_total": 4.0}, 1.23456))
    assert result == {
        "outcome": "done", "map_version": 3, "moves": 2, "aborted": 1, "slots_wanted": 1024,
        "slots_moved": 1024, "keys": 30, "bytes": 1000, "longest_pause_s": 0.002, "redirects": 4,
        "took_s": 1.235, "shares": {"kv-shard-1": 9000, "kv-shard-2": 7384},
    }  # fmt: skip
    assert RESHARD.succeeded(result) and not RESHARD.succeeded({**result, "outcome": "aborted"})
    *table, told = RESHARD.shown(result).splitlines()
    assert table == ["shard       slots", "kv-shard-1  9000", "kv-shard-2  7384"]
    assert told.startswith("done: 1024 slots in 1.24 s, 30 keys, ")
    assert told.endswith(", 4 redirects")


def test_its_plan_says_what_moves_from_where_and_what_other_partitioners_would() -> None:
    plan = {
        "moves": [["kv-shard-1", "kv-shard-3", 100]], "ideal_ratio": 0.25,
        "by_partitioner": {"slots": {"ratio": 0.25}, "ring": {"ratio": 0.31}},
    }  # fmt: skip
    *table, told = RESHARD.shown_plan(plan).splitlines()
    assert table == ["from        to          slots", "kv-shard-1  kv-shard-3  100"]
    assert told == "keys that move: slots 25.0%, ring 31.0%; the least possible is 25.0%"
    assert RESHARD.shown_plan({**plan, "moves": []}) == "nothing has to move"


def test_it_is_drawn_for_another_number_of_shards_than_there_were_last() -> None:
    assert RESHARD.draw is not None
    tiers = [Reach(f"kv-shard-{number}", "kv", 2) for number in (1, 2)]
    before: list[Any] = []
    now = 2
    for seed in range(50):
        drawn = RESHARD.draw(random.Random(seed), tiers, before)
        assert drawn is not None and drawn.takes == ("resharding kv",)
        assert drawn.word.to != now and max(1, now - 1) <= drawn.word.to <= now + 2
        before.append(drawn.word)
        now = drawn.word.to
    assert RESHARD.draw(random.Random(1), [], []) is None
