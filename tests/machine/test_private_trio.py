"""The canary for Trio's private parts: whoever upgrades Trio learns here what no longer holds."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import trio
from trio._core import _run as trio_run

from emu.machine import private_trio
from emu.machine.life import Life, current_life
from emu.machine.private_trio import PauseHolder, UnknownTrio, check_trio, seeded_scheduler
from emu.sim.run import run_simulation, simulate
from emu.sim.timers import SimulationStuck
from tests.fakes import NoHolder

ROOT = Path(__file__).parents[2]


# --- the parts themselves ------------------------------------------------------------------


def test_this_trio_has_the_parts_that_we_touch():
    check_trio()


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (trio_run, "_ALLOW_DETERMINISTIC_SCHEDULING"),
        (trio_run, "_r"),
        (trio_run, "GLOBAL_RUN_CONTEXT"),
        (trio_run.Task, "_attempt_abort"),
        (trio._threads, "start_thread_soon"),
    ],
)
def test_a_part_that_is_missing_is_named(monkeypatch, owner, name):
    monkeypatch.delattr(owner, name)
    with pytest.raises(UnknownTrio, match=name):
        check_trio()


def test_a_field_of_the_runner_that_is_missing_is_named(monkeypatch):
    kept = tuple(each for each in trio_run.Runner.__attrs_attrs__ if each.name != "runq")
    monkeypatch.setattr(trio_run.Runner, "__attrs_attrs__", kept)
    with pytest.raises(UnknownTrio, match=r"Runner\.runq.*private_trio"):
        check_trio()


def test_no_other_file_of_emu_touches_trios_private_parts():
    guilty = [
        str(path.relative_to(ROOT))
        for room in ("emu", "nodes", "protocols")
        for path in sorted((ROOT / room).rglob("*.py"))
        if "trio._" in path.read_text() and path.name != "private_trio.py"
    ]
    assert guilty == []


# --- the seeded scheduler ------------------------------------------------------------------


async def _order_of_tasks() -> list[int]:
    order: list[int] = []

    async def task(number: int) -> None:
        for _ in range(3):
            await trio.lowlevel.checkpoint()
            order.append(number)

    async with trio.open_nursery() as nursery:
        for number in range(12):
            nursery.start_soon(task, number)
    return order


def _seeded(seed: str) -> list[int]:
    with seeded_scheduler(seed):
        return trio.run(_order_of_tasks)


def test_the_seed_decides_the_order_in_which_tasks_run():
    assert _seeded("a") == _seeded("a")
    assert _seeded("a") != _seeded("b")
    assert _seeded("a") != sorted(_seeded("a")), "the order was not shuffled at all"


def test_afterwards_trio_is_as_it_was():
    before = (
        trio_run._ALLOW_DETERMINISTIC_SCHEDULING,
        trio_run._r,
        trio._threads.start_thread_soon,
    )
    state = trio_run._r.getstate()
    with pytest.raises(RuntimeError), seeded_scheduler("x"):
        trio.run(_order_of_tasks)
        raise RuntimeError
    after = (
        trio_run._ALLOW_DETERMINISTIC_SCHEDULING,
        trio_run._r,
        trio._threads.start_thread_soon,
    )
    assert after == before
    assert trio_run._r.getstate() == state, "our runs drew from the random numbers of others"


PROGRAM = """
    import random, sys, trio
    from emu.sim.run import run_simulation
    from emu.machine.links import Shape
    from tests.bench.sim import exchange

    random.seed()  # the run must not depend on the global generator
    unrelated = {str(number) for number in range(100)}

    async def main(world):
        await exchange(world, clients=5, calls=12, depth=3)
        return world.timers.now_s()

    outcome = run_simulation(main, seed=int(sys.argv[1]))
    print(outcome.digest, outcome.value, outcome.turns, outcome.messages)
"""


def _in_another_process(hash_seed: int, seed: int = 7) -> str:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROGRAM), str(seed)],
        env={**os.environ, "PYTHONHASHSEED": str(hash_seed)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_a_seed_gives_the_same_digest_in_every_process_and_under_every_hash_seed():
    one, two = _in_another_process(1), _in_another_process(2)
    assert one == two
    assert _in_another_process(1, seed=8) != one


# --- pausing a node's tasks ----------------------------------------------------------------


async def _life_of(name: str, holder: PauseHolder, nursery: trio.Nursery, work) -> Life:
    life = Life(name, 1, holder)

    async def run(task_status=trio.TASK_STATUS_IGNORED) -> None:
        current_life.set(life)
        with life.scope:
            task_status.started()
            await work()

    await nursery.start(run)
    return life


async def test_a_paused_nodes_tasks_do_not_run_and_others_do():
    ran: dict[str, int] = {"a": 0, "b": 0}

    def busy(name: str):
        async def work() -> None:
            while True:
                await trio.lowlevel.checkpoint()
                ran[name] += 1

        return work

    holder = PauseHolder()
    async with trio.open_nursery() as nursery:
        a = await _life_of("a", holder, nursery, busy("a"))
        b = await _life_of("b", holder, nursery, busy("b"))
        await turns(5)
        a.pause()
        await turns(1)
        a_before, b_before = ran["a"], ran["b"]
        await turns(20)
        assert ran["a"] == a_before
        assert ran["b"] >= b_before + 19
        b.pause()
        await turns(1)
        b_before = ran["b"]
        await turns(5)
        assert ran["b"] == b_before, "the second that is paused is withheld as well"
        a.resume()
        await turns(5)
        assert ran["a"] > a_before
        assert ran["b"] == b_before
        b.resume()
        await turns(5)
        assert ran["b"] > b_before
        nursery.cancel_scope.cancel()


async def test_the_tasks_that_a_paused_nodes_tasks_started_are_withheld_too():
    ran: list[str] = []

    async def child() -> None:
        while True:
            await trio.lowlevel.checkpoint()
            ran.append("child")

    async def parent() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(child)

    holder = PauseHolder()
    async with trio.open_nursery() as nursery:
        life = await _life_of("a", holder, nursery, parent)
        await turns(5)
        life.pause()
        await turns(1)
        before = len(ran)
        await turns(10)
        assert len(ran) == before > 0
        nursery.cancel_scope.cancel()
        life.resume()


async def test_a_paused_node_that_is_killed_unwinds_at_once():
    ended: list[str] = []

    async def work() -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.append("unwound")

    holder = PauseHolder()
    async with trio.open_nursery() as nursery:
        life = await _life_of("a", holder, nursery, work)
        await turns(2)
        life.pause()
        life.end(crash=False)
        await turns(5)
        assert ended == ["unwound"]
        assert type(private_trio.current_runner().runq).__name__ == "deque", (
            "the queue stays swapped"
        )


async def turns(count: int) -> None:
    for _ in range(count):
        await trio.lowlevel.checkpoint()


# --- what a simulation forbids, and what it reports ----------------------------------------


async def _in_a_thread(world) -> None:
    await trio.to_thread.run_sync(lambda: None)


async def _with_a_socket(world) -> None:
    with trio.socket.socket() as sock:
        await sock.bind(("127.0.0.1", 0))
        sock.listen()
        await sock.accept()


@pytest.mark.parametrize("program", [_in_a_thread, _with_a_socket])
def test_threads_and_real_sockets_are_forbidden(program):
    outcome = simulate(program, seed=1)
    assert isinstance(outcome.error, private_trio.RealIOInSimulation), outcome.error


def test_a_deadlock_is_reported_with_the_stack_of_who_waits():
    async def main(world) -> None:
        await trio.Event().wait()

    with pytest.raises(SimulationStuck, match="deadlock") as caught:
        run_simulation(main, seed=1)
    assert caught.value.kind == "deadlock"
    assert "in main" in caught.value.stacks
    assert __file__ in caught.value.stacks


def test_a_deadlock_names_the_node_that_each_task_belongs_to():
    async def main(world) -> None:
        life = Life("web-1", 1, NoHolder())

        async def stuck() -> None:
            current_life.set(life)
            await trio.Event().wait()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(stuck)

    outcome = simulate(main, seed=1)
    assert isinstance(outcome.error, SimulationStuck)
    assert "of web-1" in outcome.error.stacks


def test_tasks_that_spin_without_time_passing_are_a_livelock():
    async def main(world) -> None:
        async def spin() -> None:
            while True:
                await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(spin)

    outcome = simulate(main, seed=1, max_turns=2000)
    assert isinstance(outcome.error, SimulationStuck)
    assert outcome.error.kind == "livelock"
    assert "spin" in outcome.error.stacks


def test_timers_that_arm_each_other_without_time_passing_are_a_livelock():
    async def main(world) -> None:
        def again() -> None:
            world.timers.call_at(world.timers.now_s(), again)

        again()
        await trio.sleep(1)

    outcome = simulate(main, seed=1)
    assert isinstance(outcome.error, SimulationStuck)
    assert outcome.error.kind == "livelock"


def test_a_loop_that_never_yields_is_torn_out_of_its_frame():
    async def main(world) -> None:
        while True:
            pass

    outcome = simulate(main, seed=1, watchdog_s=0.1)
    assert isinstance(outcome.error, SimulationStuck)
    assert outcome.error.kind == "runaway task"
    assert "in main" in outcome.error.stacks


def test_a_run_without_end_is_stopped_at_its_virtual_limit():
    async def main(world) -> None:
        while True:  # noqa: ASYNC110 - it waits for nothing
            await trio.sleep(10)

    outcome = simulate(main, seed=1, max_virtual_s=100)
    assert isinstance(outcome.error, SimulationStuck)
    assert outcome.error.kind == "no end"
    assert 100 <= outcome.virtual_s <= 120


def test_an_error_out_of_a_timer_ends_the_run_with_that_error():
    async def main(world) -> None:
        world.timers.call_at(1.0, lambda: 1 / 0)
        await trio.sleep(5)

    outcome = simulate(main, seed=1)
    assert isinstance(outcome.error, ZeroDivisionError)
    assert outcome.virtual_s == 1.0


def test_the_global_random_generator_is_not_touched():
    random.seed(5)
    expected = random.Random(5).random()

    async def main(world) -> None:
        await trio.sleep(1)

    run_simulation(main, seed=1)
    assert random.random() == expected
