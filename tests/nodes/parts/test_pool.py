"""The balancer's decisions, with time moved by hand."""

import random
from collections import Counter
from typing import Any

import pytest

from nodes.parts.health import CheckTimes, Health, Outlier
from nodes.parts.picking import ALGORITHMS, Maglev
from nodes.parts.pool import ALL_DOWN, QUEUE_FULL, Pool, PoolConfig
from nodes.parts.server import Server, Waiting
from protocols.control import Member


def member(name: str, region: str = "us-east", **fields: Any) -> Member:
    values: dict[str, Any] = {"ready": True, **fields}
    return Member(name, "web", "web", region, "127.0.0.1", 8080, **values)


def pool_of(count: int = 3, **config: Any) -> tuple[Pool, list[str]]:
    events: list[str] = []
    pool = Pool(
        PoolConfig(**config), random.Random("pool"), lambda event, **fields: events.append(event)
    )
    pool.set_members([member(f"web-{number}") for number in range(count)], 0.0)
    while isinstance(pool.algorithm, Maglev) and not pool.algorithm.build(10_000):
        pass
    return pool, events


def take(pool: Pool, key: str = "c", now_s: float = 0.0, **how: Any) -> Any:
    return pool.take(key, now_s, lambda: None, **how)


def down(pool: Pool, name: str, now_s: float = 0.0) -> None:
    for _ in range(pool.config.fall + 1):
        pool.checked(pool.servers[name], "refused", now_s)


def up(pool: Pool, name: str, now_s: float = 0.0) -> None:
    for _ in range(pool.config.rise):
        pool.checked(pool.servers[name], "", now_s)


# --- health ------------------------------------------------------------------------------------


def test_three_failures_take_a_server_down_and_two_successes_bring_it_up() -> None:
    health = Health(rise=2, fall=3)
    assert health.up and health.in_transition, "new: up, but on probation"
    assert not health.passed()
    assert not health.in_transition
    assert [health.failed("x") for _ in range(3)] == [False, False, True]
    assert not health.up and not health.in_transition
    assert [health.passed() for _ in range(2)] == [False, True]


def test_one_success_between_failures_starts_the_count_again() -> None:
    health = Health(rise=2, fall=3)
    health.passed()
    for _ in range(5):
        health.failed("x")
        health.failed("x")
        health.passed()
    assert health.up


def test_a_new_server_goes_down_at_its_first_failed_check() -> None:
    assert Health(rise=2, fall=3).failed("refused")


def test_a_server_that_starts_down_is_up_at_its_first_success_and_looked_at_often() -> None:
    health = Health(rise=2, fall=3, starts_up=False)
    assert not health.up and health.in_transition
    for _ in range(5):
        assert not health.failed("starting")
    assert health.in_transition, "still awaited"
    assert health.passed() and health.up
    health.forget()
    assert not health.up and health.in_transition


def test_checks_come_faster_in_transition_and_with_jitter() -> None:
    times = CheckTimes(interval_s=2.0, fast_interval_s=0.5, jitter=0.2)
    rng = random.Random(1)
    health = Health()
    health.passed()
    calm = [times.next_wait_s(health, rng) for _ in range(100)]
    health.failed("x")
    hasty = [times.next_wait_s(health, rng) for _ in range(100)]
    assert 1.6 <= min(calm) < 1.75 and 2.25 < max(calm) <= 2.4
    assert min(hasty) >= 0.4 and max(hasty) <= 0.6


def test_each_ejection_is_longer_until_good_conduct_is_forgiven() -> None:
    outlier = Outlier()
    assert outlier.eject(0.0, 30.0) == 30.0
    assert outlier.eject(31.0, 30.0) == 91.0
    assert outlier.ejected(90.9) and not outlier.ejected(91.0)
    assert outlier.eject(91.0 + 61.0, 30.0) == 152.0 + 30.0, "two were forgiven"


# --- algorithms --------------------------------------------------------------------------------


def test_round_robin_takes_turns_and_weights_give_more_of_them() -> None:
    pool, _ = pool_of(3, weights={"web-0": 2})
    turns = [take(pool).name for _ in range(8)]
    assert Counter(turns) == {"web-0": 4, "web-1": 2, "web-2": 2}
    assert "".join(turns).count("web-0web-0") <= 1, "heavier servers' turns are spread"


def test_least_conn_prefers_the_least_loaded_and_is_round_robin_among_equals() -> None:
    pool, _ = pool_of(3, algorithm="least_conn")
    first = [take(pool) for _ in range(3)]
    assert [each.name for each in first] == ["web-0", "web-1", "web-2"]
    pool.release(first[1], 0.0)
    assert take(pool) is first[1]
    for server in first:
        pool.release(server, 0.0)
    assert [take(pool).name for _ in range(3)] == ["web-0", "web-2", "web-1"], "oldest turn first"


def test_least_conn_counts_queued_connections() -> None:
    pool, _ = pool_of(2, algorithm="least_conn")
    queued_at = pool.servers["web-0"]
    queued_at.waiting.extend(Waiting(number, "k", (), lambda: None) for number in range(2))
    assert [take(pool).name for _ in range(2)] == ["web-1", "web-1"]


def test_a_weight_of_zero_gets_nothing() -> None:
    for algorithm in ALGORITHMS:
        pool, _ = pool_of(3, algorithm=algorithm, weights={"web-1": 0})
        assert "web-1" not in {take(pool, f"c{n}").name for n in range(60)}, algorithm


@pytest.mark.parametrize("algorithm", ["source", "maglev"])
def test_hashing_sends_a_client_to_the_same_server_and_clients_to_all(algorithm: str) -> None:
    pool, _ = pool_of(3, algorithm=algorithm)
    homes = {f"c{number}": take(pool, f"c{number}").name for number in range(300)}
    assert all(take(pool, key).name == name for key, name in homes.items())
    assert min(Counter(homes.values()).values()) > 60


def test_maglev_moves_few_clients_where_source_hash_moves_many() -> None:
    moved = {}
    for algorithm in ("source", "maglev"):
        pool, _ = pool_of(4, algorithm=algorithm, flow_ttl_s=0.0)
        before = {f"c{number}": take(pool, f"c{number}").name for number in range(1000)}
        down(pool, "web-3")
        assert isinstance(pool.algorithm, object)
        while isinstance(pool.algorithm, Maglev) and not pool.algorithm.build(10_000):
            pass
        stayed = [key for key, name in before.items() if name != "web-3"]
        moved[algorithm] = sum(take(pool, key).name != before[key] for key in stayed)
    assert moved["maglev"] < 30 < 300 < moved["source"]


def test_maglevs_flow_table_keeps_a_client_while_the_lookup_table_changes() -> None:
    pool, _ = pool_of(3, algorithm="maglev", flow_ttl_s=60.0)
    homes = {f"c{number}": take(pool, f"c{number}").name for number in range(200)}
    pool.set_members([member(f"web-{number}") for number in range(9)], 1.0)
    assert isinstance(pool.algorithm, Maglev) and pool.algorithm.building
    while not pool.algorithm.build(10_000):
        pass
    assert all(take(pool, key, 59.0).name == name for key, name in homes.items())
    later = [take(pool, key, 200.0).name for key in homes]
    assert sum(a != b for a, b in zip(later, homes.values(), strict=True)) > 100


def test_maglev_serves_while_its_table_is_being_built() -> None:
    pool = Pool(PoolConfig(algorithm="maglev"), random.Random(1))
    pool.set_members([member("web-0"), member("web-1")], 0.0)
    assert {take(pool, f"c{number}").name for number in range(40)} == {"web-0", "web-1"}


def test_two_random_choices_balance_far_better_than_one() -> None:
    pool, _ = pool_of(10, algorithm="p2c")
    counts = Counter(take(pool).name for _ in range(1000))
    assert max(counts.values()) - min(counts.values()) <= 8


def test_slow_start_raises_a_returning_servers_share_step_by_step() -> None:
    pool, _ = pool_of(2, slow_start_s=10.0)
    down(pool, "web-1")
    up(pool, "web-1", 100.0)
    shares = []
    for now_s in (100.0, 105.0, 110.0):
        names = [take(pool, now_s=now_s).name for _ in range(110)]
        shares.append(names.count("web-1") / 110)
    assert shares == pytest.approx([0.09, 0.33, 0.5], abs=0.03)


# --- states ------------------------------------------------------------------------------------


def test_down_drain_and_maint_get_nothing_new_and_keep_what_they_have() -> None:
    pool, events = pool_of(4)
    held = [take(pool) for _ in range(4)]
    down(pool, "web-0")
    pool.set_state("web-1", "drain", 0.0)
    pool.set_state("web-2", "maint", 0.0)
    assert [each.state for each in pool.servers.values()] == ["down", "drain", "maint", "ready"]
    assert {take(pool).name for _ in range(5)} == {"web-3"}
    assert [each.sessions for each in held] == [1, 1, 1, 6]
    assert events[-3:] == ["server down", "server set to drain", "server set to maint"]
    with pytest.raises(LookupError, match="web-9"):
        pool.set_state("web-9", "ready", 0.0)
    with pytest.raises(LookupError, match="gone"):
        pool.set_state("web-1", "gone", 0.0)


def test_ready_of_an_operator_does_not_overrule_a_failed_check() -> None:
    pool, _ = pool_of(2)
    down(pool, "web-0")
    for word in ("maint", "ready"):
        pool.set_state("web-0", word, 0.0)
    assert pool.servers["web-0"].state == "down"
    assert {take(pool).name for _ in range(4)} == {"web-1"}
    up(pool, "web-0")
    assert pool.servers["web-0"].state == "ready"


def test_who_leaves_maintenance_still_has_no_more_than_max_conn() -> None:
    """It kept those that it had."""
    pool, _ = pool_of(1, max_conn=2)
    server = pool.servers["web-0"]
    held = [take(pool) for _ in range(2)]
    pool.set_state("web-0", "maint", 0.0)
    pool.set_state("web-0", "ready", 0.0)
    waiting = [take(pool) for _ in range(3)]
    pool.tick(0.0)
    assert (server.sessions, [each.server for each in waiting]) == (2, [None] * 3)
    for number, each in enumerate(held, 1):
        pool.release(each, 0.0)
        assert (server.sessions, sum(one.server is server for one in waiting)) == (2, number)


def test_members_that_leave_finish_first_and_are_then_forgotten() -> None:
    pool, _ = pool_of(2)
    held = take(pool)
    pool.set_members([member("web-1")], 0.0)
    assert held.leaving and pool.remove_finished() == []
    pool.release(held, 0.0)
    assert pool.remove_finished() == [held]
    assert list(pool.servers) == ["web-1"]


def test_a_member_that_is_not_ready_is_not_used_yet() -> None:
    pool, _ = pool_of(0)
    pool.set_members([member("web-0", ready=False)], 0.0)
    assert take(pool) == ALL_DOWN
    assert [each.name for each in pool.set_members([member("web-0")], 0.0)] == ["web-0"]
    assert take(pool).name == "web-0"
    assert pool.set_members([member("web-0", generation=2)], 0.0), "a new generation is news"


def test_a_draining_member_gets_nothing_new() -> None:
    pool, events = pool_of(2)
    pool.set_members([member("web-0", draining=True), member("web-1")], 0.0)
    assert {take(pool).name for _ in range(4)} == {"web-1"}
    assert events[-1] == "server draining"


def test_all_down_is_said_once_and_its_end_too() -> None:
    pool, events = pool_of(2)
    down(pool, "web-0")
    down(pool, "web-1")
    assert take(pool) == ALL_DOWN
    up(pool, "web-1")
    assert take(pool).name == "web-1"
    assert events.count("all servers down") == 1
    assert events.count("servers available") == 2


def test_the_own_region_comes_first_and_others_take_over() -> None:
    pool = Pool(PoolConfig(region="eu-west"), random.Random(1))
    pool.set_members([member("web-0"), member("web-1", "eu-west")], 0.0)
    assert {take(pool).name for _ in range(4)} == {"web-1"}
    down(pool, "web-1")
    assert {take(pool).name for _ in range(4)} == {"web-0"}


def test_in_panic_all_are_used_but_not_when_none_is_healthy() -> None:
    pool, events = pool_of(4, panic_threshold_ratio=0.5)
    for name in ("web-0", "web-1"):
        down(pool, name)
    assert {take(pool).name for _ in range(8)} == {"web-2", "web-3"}
    down(pool, "web-2")
    assert len({take(pool).name for _ in range(8)}) == 4
    down(pool, "web-3")
    assert take(pool) == ALL_DOWN
    assert [each for each in events if "panic" in each] == ["panic begins", "panic ends"]


def test_five_failures_in_a_row_eject_a_server_for_thirty_seconds() -> None:
    pool, events = pool_of(3)
    bad = pool.servers["web-0"]
    for _ in range(4):
        pool.failed(bad, 0.0)
    pool.succeeded(bad)
    for _ in range(4):
        pool.failed(bad, 0.0)
    assert "server ejected" not in events
    pool.failed(bad, 0.0)
    assert "server ejected" in events
    assert "web-0" not in {take(pool, now_s=29.9).name for _ in range(6)}
    assert "web-0" in {take(pool, now_s=30.0).name for _ in range(6)}


def test_at_most_a_tenth_is_ejected_but_one_may_be_and_never_the_last() -> None:
    pool, _ = pool_of(3)
    for name in ("web-0", "web-1"):
        for _ in range(5):
            pool.failed(pool.servers[name], 0.0)
    assert {each.name for each in pool.usable(0.0)} == {"web-1", "web-2"}
    single, _ = pool_of(1)
    for _ in range(9):
        single.failed(single.servers["web-0"], 0.0)
    assert take(single).name == "web-0"


def test_a_server_that_its_checks_took_out_is_not_ejected_besides() -> None:
    pool, events = pool_of(3)
    down(pool, "web-0")
    for _ in range(9):
        pool.failed(pool.servers["web-0"], 0.0)
    assert "server ejected" not in events


# --- the queue ---------------------------------------------------------------------------------


def test_over_max_conn_connections_wait_in_order() -> None:
    pool, _ = pool_of(2, max_conn=1, max_queue=2)
    held = [take(pool), take(pool)]
    order: list[str] = []
    waits = [pool.take(key, 0.0, lambda key=key: order.append(key)) for key in ("a", "b")]
    assert take(pool, "c") == QUEUE_FULL
    pool.release(held[1], 0.0)
    pool.release(held[0], 0.0)
    assert order == ["a", "b"]
    assert [each.server for each in waits] == [held[1], held[0]]
    assert pool.queued == 0


def test_who_gives_up_is_skipped() -> None:
    pool, _ = pool_of(1, max_conn=1)
    held = take(pool)
    first, second = take(pool, "a"), take(pool, "b")
    pool.give_up(first)
    pool.give_up(first)
    pool.release(held, 0.0)
    assert first.server is None and second.server is held
    assert pool.queued == 0


def test_a_hashed_client_waits_for_its_own_server_and_moves_when_that_goes_down() -> None:
    pool, _ = pool_of(2, algorithm="source", max_conn=1)
    home = take(pool, "c")
    waiting = take(pool, "c")
    other = next(each for each in pool.servers.values() if each is not home)
    assert waiting.wanted is home and other.sessions == 0
    down(pool, home.name)
    assert waiting.server is other


def test_when_the_last_server_goes_down_the_queue_is_refused() -> None:
    pool, _ = pool_of(1, max_conn=1)
    take(pool)
    waiting = take(pool)
    down(pool, "web-0")
    assert waiting.refused == ALL_DOWN and pool.queued == 0


def test_a_new_server_takes_from_the_queue_at_once() -> None:
    pool, _ = pool_of(1, max_conn=1)
    take(pool)
    waiting = take(pool)
    pool.set_members([member("web-0"), member("web-1")], 0.0)
    assert isinstance(waiting.server, Server) and waiting.server.name == "web-1"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_random_histories_never_break_the_counts(algorithm: str) -> None:
    rng = random.Random(f"history/{algorithm}")
    pool, _ = pool_of(4, algorithm=algorithm, max_conn=3, max_queue=5)
    sessions: list[Server] = []
    waiting: list[Waiting] = []
    now_s = 0.0
    for _ in range(3000):
        now_s += rng.random()
        name = rng.choice(list(pool.servers))
        match rng.randrange(9):
            case 0 | 1 | 2:
                taken = take(pool, f"c{rng.randrange(50)}", now_s)
                if isinstance(taken, Server):
                    sessions.append(taken)
                elif isinstance(taken, Waiting):
                    waiting.append(taken)
            case 3 | 4 if sessions:
                pool.release(sessions.pop(rng.randrange(len(sessions))), now_s)
            case 5:
                pool.checked(pool.servers[name], rng.choice(["", "x"]), now_s)
            case 6:
                pool.failed(pool.servers[name], now_s)
            case 7:
                pool.set_state(name, rng.choice(["ready", "ready", "drain", "maint"]), now_s)
            case 8 if waiting:
                pool.give_up(waiting[rng.randrange(len(waiting))])
                pool.tick(now_s)
        for each in list(waiting):
            if each.server is not None:
                sessions.append(each.server)
            if each.server is not None or each.refused:
                waiting.remove(each)
        counts = Counter(each.name for each in sessions)
        for server in pool.servers.values():
            assert server.sessions == counts[server.name] <= 3
        assert pool.queued == len(pool.queue) + sum(
            len(server.waiting) for server in pool.servers.values()
        )
        assert pool.queued <= 5
