"""Random groups in memory, with every fault there is; world.py judges each step."""

from __future__ import annotations

import pytest

from tests.protocols.replication.swarm import Swarm

SAMPLE = range(24)
ALL = range(100, 3100)
PER_TEST = 50


@pytest.mark.parametrize("seed", SAMPLE)
def test_a_random_life_keeps_every_promise_and_ends_equal(seed):
    Swarm(seed).run(seconds=10.0)


@pytest.mark.soak
@pytest.mark.parametrize("first", ALL[::PER_TEST])
def test_thousands_of_random_lives_keep_every_promise(first):
    for seed in range(first, first + PER_TEST):
        try:
            Swarm(seed).run()
        except AssertionError as error:
            pytest.fail(f"seed {seed}: {error!r}")


def test_a_seed_is_lived_again_message_by_message():
    def life() -> list[object]:
        swarm, messages = Swarm(5), []
        swarm.world.on_send = messages.append
        swarm.run(seconds=5.0)
        return messages

    assert life() == life()
