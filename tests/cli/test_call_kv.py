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


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ((), 2, "Missing argument"),
        (("kv",), 2, "Missing argument 'method'"),
        (("kw", "get", "k"), 1, "nothing is called `kw`; there are: kv-coordinator"),
        (("kv", "got", "k"), 1, "no_such_method: got; there are: append, compare_and_set"),
        (("kv", "get"), 1, "bad_request: get"),
        (("kv", "incr"), 1, "bad_request: incr"),
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
