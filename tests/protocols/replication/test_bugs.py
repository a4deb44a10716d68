"""The swarm is worth its name only if it kills the classic mistakes: each within 300 seeds."""

from __future__ import annotations

import pytest

from tests.protocols.replication.bugs import BUGS, planted
from tests.protocols.replication.swarm import Swarm

SEEDS = range(300)
QUICK = (
    "the vote is not written with the epoch",
    "messages leave before epoch and vote are durable",
    "a witness votes for whoever asks, not for those it vouched for",
    "a replica confirms what it has not synced",
    "what a replica had confirmed before its disk was lost still counts",
)
"""Those that the first few seeds kill; the others need `make soak`."""


def killing_seed(mistake: str) -> int | None:
    """The first seed whose life breaks a promise with this mistake in the core or its driver."""
    with planted(mistake):
        for seed in SEEDS:
            try:
                Swarm(seed).run()
            except AssertionError:
                return seed
    return None


@pytest.mark.parametrize("mistake", QUICK)
def test_a_sample_of_classic_mistakes_is_found(mistake):
    assert killing_seed(mistake) is not None


@pytest.mark.soak
@pytest.mark.parametrize("mistake", BUGS)
def test_every_classic_mistake_is_found_within_300_seeds(mistake):
    assert killing_seed(mistake) is not None
