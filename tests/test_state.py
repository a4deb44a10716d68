"""The state folder: claimed by one emu at a time, swept when its emu was killed."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from emu import state


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """Short, for a socket's path has a limit, whoever runs the tests."""
    with tempfile.TemporaryDirectory(prefix="emu-") as folder:
        yield Path(folder)


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EMU_STATE_DIR", str(tmp_path / "emu"))
    return tmp_path / "emu"


def test_a_name_is_claimed_once_and_free_again_after_release() -> None:
    first = state.claim("shop")
    with pytest.raises(state.StateError, match="`shop` is running already"):
        state.claim("shop")
    state.claim("other").release()
    first.release()
    state.claim("shop").release()


def test_a_temporary_folder_vanishes_and_never_collides() -> None:
    folders = [state.claim("shop", temporary=True) for _ in range(2)]
    assert folders[0].path != folders[1].path
    for folder in folders:
        folder.release()
        assert not folder.path.exists()


def test_data_outlives_a_release_and_fresh_forgets_it() -> None:
    folder = state.claim("shop")
    (folder.data / "db-1").mkdir()
    folder.release()
    again = state.claim("shop")
    assert (again.data / "db-1").is_dir()
    again.release()
    fresh = state.claim("shop", fresh=True)
    assert not (fresh.data / "db-1").exists()
    fresh.release()


def test_a_run_knows_whose_disks_it_goes_on_with() -> None:
    """A first verdict on the disks of a dozen runs was nobody's to explain."""
    kept = []
    for _ in range(3):
        folder = state.claim("shop")
        kept.append(folder.kept)
        (folder.data / "db-1").mkdir(exist_ok=True)
        (folder.data / "db-1" / "log").write_bytes(bytes(1000))
        folder.release()
    assert kept == [None, (1, 1000), (2, 1000)]
    fresh = state.claim("shop", fresh=True)
    assert fresh.kept is None
    fresh.release()
    (fresh.data / "web-1").mkdir()  # it keeps nothing
    again = state.claim("shop")
    assert again.kept is None
    again.release()


def test_disks_of_runs_that_nobody_counted_are_told_too() -> None:
    folder = state.claim("shop")
    (folder.data / "db-1").mkdir()
    (folder.data / "db-1" / "log").write_bytes(bytes(10))
    (folder.data / state.RUNS).write_text("{")
    folder.release()
    again = state.claim("shop")
    assert again.kept == (0, 10)
    again.release()


def test_only_the_owner_may_look_into_the_folder(root: Path) -> None:
    folder = state.claim("shop")
    assert stat.S_IMODE(os.stat(root).st_mode) == 0o700
    assert stat.S_IMODE(os.stat(folder.path).st_mode) == 0o700
    folder.release()


def test_the_next_claim_sweeps_temporary_folders_whose_emu_is_dead(root: Path) -> None:
    alive = state.claim("shop", temporary=True)
    dead = state.claim("shop", temporary=True)
    assert dead._lock is not None
    dead._lock.close()  # what the kernel does for a killed process
    state.claim("other").release()
    assert alive.path.exists()
    assert not dead.path.exists()
    alive.release()


def test_what_a_killed_emu_said_of_itself_is_not_believed(root: Path) -> None:
    folder = state.claim("shop")
    folder.describe({"name": "shop", "pid": 1})
    assert [each["name"] for each in state.running()] == ["shop"]
    assert folder._lock is not None
    folder._lock.close()
    assert state.running() == []
    assert state.stopped() == ["shop"]


def test_a_running_cluster_is_not_wiped() -> None:
    folder = state.claim("shop")
    with pytest.raises(state.StateError, match="`shop` is running"):
        state.wipe("shop")
    folder.release()
    assert state.wipe("shop")
    assert not state.wipe("shop")


def test_a_path_too_long_for_a_socket_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMU_STATE_DIR", str(tmp_path / ("x" * 100)))
    with pytest.raises(state.StateError, match="too long"):
        state.claim("shop")


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"kv": 3}', '{"kv": []}', '{"kv": ["web-1"]}', "\x00" * 40]
)
def test_shards_that_cannot_be_read_are_an_error_with_what_to_do(text: str) -> None:
    folder = state.claim("shop")
    folder.keep_tiers({"kv": ["kv-shard-1"]})
    folder.release()
    (folder.data / state.TIERS).write_text(text)
    for _ in range(2):  # and it is not held
        with pytest.raises(state.StateError, match=r"does not say which shards .* --volumes"):
            state.claim("shop")
    fresh = state.claim("shop", fresh=True)
    assert fresh.kept_tiers() == {}
    fresh.release()


@pytest.mark.parametrize(
    ("text", "which"),
    [
        (None, "an unknown format;"),
        ("", "an unknown format;"),
        ("{}", "an unknown format;"),
        ("\x00" * 9, "an unknown format;"),
        ("1", "format 1;"),
        (f"{state.FORMAT + 1}", f"format {state.FORMAT + 1};"),
    ],
)
def test_disks_of_another_version_are_an_error_with_what_to_do(
    text: str | None, which: str
) -> None:
    folder = state.claim("shop")
    (folder.data / "db-1").mkdir()
    folder.release()
    state.claim("shop").release()
    (folder.data / state.FORMAT_FILE).unlink()
    if text is not None:
        (folder.data / state.FORMAT_FILE).write_text(text)
    for _ in range(2):  # and it is not held
        with pytest.raises(state.StateError, match=rf"another version .*{which} .* --volumes"):
            state.claim("shop")
    state.claim("shop", fresh=True).release()
    state.claim("shop").release()


def test_what_is_discarded_leaves_neither_folder_nor_log() -> None:
    folder = state.claim("shop")
    state.log_of("shop").write_text("it was up")
    folder.discard()
    assert not folder.path.exists() and not state.log_of("shop").exists()
    assert state.stopped() == []
    again = state.claim("shop")
    folder.discard()
    folder.release()
    assert again.path.exists(), "it is another's now"
    again.release()
