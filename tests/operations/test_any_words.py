"""Whatever is said to a running cluster, by any verb: it is done, or refused in words."""

from __future__ import annotations

import random
from dataclasses import fields
from typing import Any

import pytest

from emu.model.vocabulary import verbs
from emu.operations.inject import inject, read
from emu.running.targets import TargetError
from emu.scenario import Scenario, run
from emu.topology.loading import loads
from protocols.errors import RpcError

TEXTS = ("", "all", "web", "db", "db primary", "one web", "two", "half db", "web-1,db-2", "queue",
         "nobody", "web-9", "*", "db replica primary", "eio", "state", "log", "x" * 300, "\x00",
         "a\nb", "9", "-1", "none", "orders", "\ud800")  # fmt: skip
NUMBERS = (0, 1, 3, -1, 0.5, -0.5, 1e-9, 1e9, 2**63, 1e300, float("inf"), float("nan"), True)
TOPOLOGY = """
tiers:
  web: {kind: web, public: true, nodes: 2, uses: db}
  db: {kind: database, nodes: 3}
  queue: {kind: queue, public: true, replicas: 0, topics: {orders: {}}}
  kv: {kind: kv, public: true, shards: 2, replicas: 0, coordinators: 1}
"""
LEFT_ALONE = ("late",)
"""It holds the loop itself up, for as long as is said."""


def any_value(rng: random.Random) -> Any:
    match rng.randrange(6):
        case 0:
            return None
        case 1 | 2 | 3:
            return rng.choice(NUMBERS)
        case 4:
            return [rng.choice(TEXTS) for _ in range(rng.randrange(4))]
    return rng.choice(TEXTS)


def any_record(rng: random.Random, verb: str, word: Any) -> dict[str, Any]:
    names = [each.name for each in fields(word)]
    said = {name: any_value(rng) for name in names if name == word.main or rng.random() < 0.5}
    if rng.random() < 0.7:  # mostly somebody is meant
        said[word.main] = rng.choice(("web", "db", "kv", "queue", "one db", ["web", "db"], "all"))
    return {"verb": verb, **said}


@pytest.mark.parametrize("seed", [1, *(pytest.param(n, marks=pytest.mark.soak)
                                       for n in range(2, 40))])  # fmt: skip
def test_a_word_is_done_or_refused(seed: int) -> None:
    async def script(c: Scenario) -> None:
        await c.sleep(2)
        rng = random.Random(seed)
        done = refused = 0
        known = {verb: each for verb, each in verbs().items() if verb not in LEFT_ALONE}
        for verb, word in sorted(known.items()):
            for _ in range(8):
                record = any_record(rng, verb, word)
                try:
                    with c.cluster.operator.move_on_after(1.0):
                        await inject(c.cluster, read(c.cluster, record))
                    done += 1
                except (ValueError, TypeError, TargetError, RpcError) as refusal:
                    assert str(refusal), record
                    refused += 1
                except Exception as error:
                    raise AssertionError(f"{record}: {error!r}") from error

        assert min(done, refused) > 20

    run(script, loads(TOPOLOGY), seed=seed)
