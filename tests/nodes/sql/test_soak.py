"""Generated SQL: plain SQLite's answers, on one node and on three, and the same rows on all of
them, after promotions and restarts."""

from __future__ import annotations

import os

import pytest

from tests.nodes.sql.soak.chains import ChainSoak
from tests.nodes.sql.soak.judge import Soak

STATEMENTS = int(os.environ.get("EMU_SOAK_STATEMENTS", "1000000"))
PER_SEED = 10_000
SAMPLE = 2000


def soak(seed: int, statements: int, nodes: int, form: type[Soak] = Soak) -> int:
    soaked = form(seed, nodes)
    try:
        soaked.run(statements)
        return soaked.done
    finally:
        soaked.close()


@pytest.mark.slow
@pytest.mark.parametrize("nodes", [1, 3])
def test_a_sample_of_generated_sql_gives_sqlites_answers_and_equal_replicas(nodes: int):
    assert soak(0, SAMPLE, nodes) > SAMPLE // 8


@pytest.mark.slow
@pytest.mark.parametrize("seed", [34, 75])  # SQLite, without our rules, loses rows of these
def test_triggers_and_keys_that_set_each_other_off_lose_nothing_from_indexes(seed: int):
    assert soak(seed, 300, 1, ChainSoak) > 100


@pytest.mark.soak
@pytest.mark.parametrize("nodes", [1, 3])
@pytest.mark.parametrize("seed", range(1, 1 + max(1, STATEMENTS // 10 // 1000)))
def test_what_sets_itself_off_gives_sqlites_answers_and_whole_indexes(seed: int, nodes: int):
    assert soak(seed, min(1000, STATEMENTS), nodes, ChainSoak) > 0


@pytest.mark.soak
@pytest.mark.parametrize("nodes", [1, 3])
@pytest.mark.parametrize("seed", range(1, 1 + max(1, STATEMENTS // PER_SEED)))
def test_generated_sql_gives_sqlites_answers_and_equal_replicas(seed: int, nodes: int):
    assert soak(seed, min(PER_SEED, STATEMENTS), nodes) > 0
