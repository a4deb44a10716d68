"""Generated SQL: the answers of plain SQLite, and the same rows on all replicas."""

from __future__ import annotations

import os

import pytest

from tests.nodes.sql.soak.judge import Soak

STATEMENTS = int(os.environ.get("EMU_SOAK_STATEMENTS", "1000000"))
PER_SEED = 10_000
SAMPLE = 2000


def soak(seed: int, statements: int) -> int:
    soaked = Soak(seed)
    try:
        soaked.run(statements)
        return soaked.done
    finally:
        soaked.close()


@pytest.mark.slow
def test_a_sample_of_generated_sql_gives_sqlites_answers_and_equal_replicas():
    assert soak(0, SAMPLE) > SAMPLE // 8


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(1, 1 + max(1, STATEMENTS // PER_SEED)))
def test_generated_sql_gives_sqlites_answers_and_equal_replicas(seed: int):
    assert soak(seed, min(PER_SEED, STATEMENTS)) > 0
