"""Seeds on the workers of a Dask cluster: what a worker gets is a run and the topology's text.

Dask schedules, retries and notices the dead; here is only what makes the results worth the same as
those of this machine: the same code, the same versions, one seed at a time in a process.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from typing import Any, Final

from emu.seeds.run import SeedResult, SeedRun, run_seed, topology_of
from emu.topology import shipped
from emu.versions import complete

SCHEME: Final = "dask://"
CONNECT: Final = "10s"
RETRIES: Final = 5
"""Of a seed whose worker died: another one runs it."""
MISSING: Final = "--on dask:// needs Dask: pip install 'emu[dask]'"


class Unfit(ValueError):
    """A cluster, or a campaign, that would not give the digest of this machine."""


def results(runs: Sequence[SeedRun], address: str) -> Generator[SeedResult, None, None]:
    """In the order in which they end. Raises Unfit, OSError where nobody answers."""
    if not address.startswith(SCHEME):
        raise Unfit(f"`{address}` is no place for seeds; write {SCHEME}HOST:PORT")
    try:
        dask: Any = import_module("distributed")
    except ImportError:
        raise Unfit(MISSING) from None
    travelling = [_with_text(run) for run in runs]
    client = dask.Client(f"tcp://{address.removeprefix(SCHEME)}", timeout=CONNECT)
    try:
        _check(client, complete())
        futures = client.map(run_seed, travelling, pure=False, retries=RETRIES)
        for future in dask.as_completed(futures):
            yield future.result()
    finally:
        client.close()  # what is under way or waits is given up with its client


def _with_text(run: SeedRun) -> SeedRun:
    if topology_of(run.path, run.settings).code:
        raise Unfit(f"{run.path} runs Python code of its own, which does not travel")
    if run.history:
        raise Unfit("--history is written where a seed runs: leave it out, or run here")
    return replace(run, text=run.text or shipped.find(run.path).read_text("utf-8-sig"))


def _check(client: Any, versions: Mapping[str, str]) -> None:
    """One thread a worker, and all of this very code."""
    workers = client.scheduler_info(n_workers=-1)["workers"]
    if not workers:
        raise Unfit("the scheduler has no workers; start some: dask worker HOST:PORT --nthreads 1")
    for name, worker in workers.items():
        if worker["nthreads"] != 1:
            raise Unfit(
                f"worker {name} has {worker['nthreads']} threads; start it with --nthreads 1"
            )
    for name, found in client.run(complete).items():
        if found != versions:
            differs = [key for key in versions if found.get(key) != versions[key]]
            key = differs[0] if differs else "source"
            told = f"has {key} {found.get(key)}, here it is {versions.get(key)}"
            raise Unfit(f"worker {name} {told}: its digests would differ; install the same")
