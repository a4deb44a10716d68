"""`emu new`: a file of one's own, with or without a terminal."""

from __future__ import annotations

from pathlib import Path

import pytest

from emu.topology.loading import load
from tests.cli.conftest import Verb


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_in_a_pipe_it_says_what_it_did_not_ask(emu: Verb) -> None:
    result = emu("new", "web=2", "users=9")
    assert result.exit_code == 0
    assert "not asked, as this is no terminal: site=shop db=3 ack=quorum store=no" in result.stderr
    assert "shop.yaml: 8 nodes in 5 tiers. Next:" in result.stderr
    made = load("shop.yaml")
    assert (made.name, len(made.tier("web").members)) == ("shop", 2)
    assert made.tier("users-local").config.rate_per_s == 9
    assert made.tier("users-local").config.host == "www.shop.test"


def test_a_file_may_be_named_and_is_never_overwritten(emu: Verb) -> None:
    assert emu("new", "mine.yaml", "site=cafe").exit_code == 0
    assert "emu up mine.yaml" in Path("mine.yaml").read_text()
    again = emu("new", "mine.yaml")
    assert (again.exit_code, load("mine.yaml").name) == (2, "cafe")
    assert "mine.yaml is there already; name another file" in again.stderr


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("size=3",), "`size=3` answers no question; write for example site=shop, web=3"),
        (("web=0",), "`web` is from 1 to 50"),
        (("mine.yaml", "web"), "`web` answers no question"),
        (("--from", "77"), "no topology that ships is called `77`; there are 01-single-server"),
        (("--from", "04", "web=3"), "--from 04 takes no answers"),
        (("nowhere/mine.yaml",), "cannot write nowhere/mine.yaml: No such file or directory"),
    ],
)
def test_what_makes_no_sense_is_a_usage_error(emu: Verb, words: tuple[str, ...], why: str) -> None:
    result = emu("new", *words)
    assert result.exit_code == 2
    assert why in result.stderr
    assert list(Path().glob("*.yaml")) == []


def test_a_step_is_copied_under_the_files_own_name(emu: Verb) -> None:
    assert emu("new", "my_site.yaml", "--from", "04").exit_code == 0
    text = Path("my_site.yaml").read_text()
    assert load("my_site.yaml").name == "my-site"
    assert "emu up my_site.yaml" in text and "topologies/04" not in text
    assert "# What it teaches" in text


def test_the_shipped_topologies_are_found_from_anywhere(emu: Verb) -> None:
    for name in ("04", "04-load-balancer", "topologies/04-load-balancer.yaml"):
        assert load(name).name == "load-balancer"
    assert load("topologies/experiments/03-async-or-quorum.yaml").placements()
    Path("04").write_text("name: mine\ntiers: {web: {kind: web, public: true}}\n")
    assert load("04").name == "mine"
    missing = emu("config", "44")
    assert missing.exit_code == 2
    assert "cannot read 44: No such file or directory; with emu come 01 to 13" in missing.stderr
    assert "`emu steps`" in missing.stderr
    assert "did you mean 05-replication" in emu("config", "replicaton").stderr
