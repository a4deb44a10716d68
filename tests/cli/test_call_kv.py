"""`emu call kv ...` from the shell: a command's answer, and what is wrong with a wrong one."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from functools import partial

import pytest
from click.testing import Result

from tests.cli import running
from tests.cli.running import Up

pytestmark = pytest.mark.slow

STORE = """name: store
tiers:
  kv: {kind: kv, public: true, shards: 2, replicas: 0, coordinators: 1}
"""
Call = Callable[..., Result]


@pytest.fixture(scope="module")
def call(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Call]:
    """`call(words...)` is `emu call words...` on a running store."""
    folder = tmp_path_factory.mktemp("store")
    file = folder / "store.yaml"
    file.write_text(STORE)
    up = Up(folder / "state", str(file))
    up.wait_ready()
    ask = partial(running.emu, up.state, "call")
    give_up_s = time.monotonic() + 20
    while ask("kv", "mget", '["a", "b", "c", "d"]').exit_code and time.monotonic() < give_up_s:
        time.sleep(0.2)
    yield ask
    up.end()


def test_get_set_and_join_work_from_the_shell(call: Call) -> None:
    assert call("kv", "set", "k", "words").stdout == "true\n"
    assert call("kv", "get", "k").stdout == "words\n"
    assert call("kv", "get", "absent").stdout == "null\n"
    assert call("kv", "set", "user:ada", '{"name": "Ada"}').exit_code == 0
    assert call("kv", "set", "post:1", '{"author": "ada"}').exit_code == 0
    answer = call("kv", "join", '{"prefix": "post:"}', '{"on": "author", "to": "user:*"}')
    joined = json.loads(answer.stdout)
    assert joined["rows"] == [["post:1", {"author": "ada"}, "user:ada", {"name": "Ada"}]]
    assert joined["cost"]["shards"] == 2 and not joined["partial"]


def test_a_negative_number_is_a_param_and_no_option(call: Call) -> None:
    for words in (("-1",), ("--", "-1"), ("--json", "-1"), ("-1", "--json")):
        before = json.loads(call("kv", "incr", "n", "0", "--json").stdout)["kv-router-1"]["ok"]
        assert call("kv", "incr", "n", *words).exit_code == 0
        after = json.loads(call("kv", "incr", "n", "0", "--json").stdout)["kv-router-1"]["ok"]
        assert after == before - 1, words
    assert call("kv", "set", "text", "--", "--text").exit_code == 0
    assert call("kv", "get", "text").stdout == "--text\n"


def test_python_words_for_numbers_that_are_none_are_texts(call: Call) -> None:
    for word in ("NaN", "Infinity", "-Infinity"):
        assert call("kv", "set", "c", "--", word).exit_code == 0
        assert call("kv", "get", "c").stdout == f"{word}\n"


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ((), 2, "Missing argument"),
        (("kv",), 2, "Missing argument 'method'"),
        (("kw", "get", "k"), 1, "nothing is called `kw`; there are: kv-coordinator"),
        (("kv", "got", "k"), 1, "no_such_method: got; there are: append, compare_and_set"),
        (("kv", "get"), 1, "bad_request: get"),
        (("kv", "incr"), 1, "bad_request: incr"),
        (("kv", "set", "k", "9" * 23), 1, "this cannot be sent: Integer value out of range"),
        (("kv", "set", "k", str(-(2**63) - 1)), 1, "this cannot be sent"),
        (("kv", "set", "k", "a\udcff"), 1, "this cannot be sent"),
        (("kv", "set", "k", "[" * 5000 + "]" * 5000), 2, "is nested too deep"),
        (("kv", "get", "k", "--bogus"), 2, "No such option"),
        (("kv", "set", "k", "null"), 1, "bad_request: nil is no value"),
        (("kv", "transact", '[["incr", "a"], ["incr", "b"]]'), 1, "crossslot: `a` and `b`"),
        (("kv", "join", "post:", "user:*"), 1, "bad_request: join takes"),
    ],
)
def test_a_wrong_call_says_what_is_wrong(
    call: Call, words: tuple[str, ...], code: int, says: str
) -> None:
    result = call(*words)
    assert result.exit_code == code
    assert says in " ".join(result.stderr.split())
