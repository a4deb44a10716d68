"""Every class of mistake in a topology file: found with its line and column, with what to do."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from emu.cli.verbs import app
from emu.model.problems import TopologyError
from emu.topology.loading import load, loads
from tests.topology.kinds import KINDS

EIGHT = """\
name: eight
regions: [here]
tiers:
  front: {kind: front, public: true, balances: stie, algoritm: least_conn, rise: 0}
  site: {kind: site, nodes: 1.5, buffer: 64mb, uses: strore, limits: {mosst: 3}}
  site: {kind: site}
  store: {kind: stroe}
  idle: {kind: front}
users: {here: {visits: site, rate: 40}}
links: {site -> sotre: 3ms}
faults:
  - {at: 10, kill: site-1}
  - {at: 10s, klil: site}
expect: [availabilty >= 99%]
"""


def mistakes(text: str) -> list[str]:
    """`line:column: message` of each problem."""
    try:
        loads(text, path="t.yaml", kinds=KINDS)
    except TopologyError as error:
        found = [str(problem) for problem in error.problems]
        assert all(line.startswith("t.yaml:") for line in found)
        return [line.removeprefix("t.yaml:") for line in found]
    return []


def test_many_kinds_of_mistake_in_one_file_are_all_reported_in_one_run() -> None:
    assert mistakes(EIGHT) == [
        "4:48: `balances`: there is no tier `stie`; did you mean `site`?",
        "4:54: unknown key `algoritm` of a front tier; did you mean `algorithm`?",
        "4:82: `rise` must be above 0",
        "5:29: `nodes`: `1.5` is not a whole number; write 1",
        "5:42: `buffer`: `64mb` is not a size; did you mean 64MB?",
        "5:54: `uses`: there is no tier `strore`; did you mean `store`?",
        "5:71: unknown key `mosst` of a site tier; did you mean `most`?",
        "6:3: duplicate key `site` (first in line 5); keep one",
        "7:17: unknown kind `stroe`; did you mean `store`?",
        "8:3: a front tier needs `balances`; add `balances: ...`",
        "9:36: `rate`: 40 has no unit: it is a rate; write 40/s or 40/m",
        "10:9: a link's end `sotre` is no region, tier or node; did you mean `store`?",
        "12:10: `at`: 10 has no unit: it is a time; write 10s or 10ms",
        "13:15: unknown verb `klil`; did you mean `kill`?",
        "14:10: there is no metric `availabilty`; did you mean `availability`?",
    ]


WEB = "tiers: {web: {kind: site}}\n"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        # --- the whole file
        ("", "1:1: a topology is a mapping, not nothing; begin with `tiers:`"),
        ("hello", "1:1: a topology is a mapping, not `hello`; begin with `tiers:`"),
        ("- a", "1:1: a topology is a mapping, not a list; begin with `tiers:`"),
        ("name: x", "1:1: a topology needs `tiers`; add `tiers: {web: {kind: web}}`"),
        ("tiers: {}", "1:1: a topology needs `tiers`; add `tiers: {web: {kind: web}}`"),
        ("tiers:\n", "2:1: `tiers` is a mapping, not nothing; write {web: {kind: web}}"),
        ("tires: {}\n" + WEB, "1:1: unknown key `tires`; did you mean `tiers`?"),
        ("name: A B\n" + WEB, "1:7: `name`: `A B` is no name; write lower-case letters, digits"),
        ("name: " + "a" * 41 + "\n" + WEB, "1:7: `name` is longer than 40; shorten it"),
        ("seed: -3\n" + WEB, "1:7: `seed`: `-3`; write a whole number from 0"),
        ("seed: 1.5\n" + WEB, "1:7: `seed`: `1.5`; write a whole number from 0"),
        # --- regions
        ("regions: [a, a]\n" + WEB, "1:14: region `a` is named twice; remove one"),
        ("regions: [X]\n" + WEB, "1:11: `X` is no region's name; write us-east"),
        ("regions: [all]\n" + WEB, "1:11: `all` is reserved or too long; rename it"),
        ("regions: []\n" + WEB, "1:10: `regions` is empty; name one or leave it out"),
        ("regions: here\n" + WEB, "1:10: `regions` is a list, not `here`; write [us-east, eu-west"),
        # --- tiers
        ("tiers: {web: 3}", "1:14: tier `web` is a mapping, not `3`; write {kind: ...}"),
        ("tiers: {web: {}}", "1:9: tier `web` needs `kind`; add `kind: ...`"),
        ("tiers: {web: {kind: sitee}}", "1:21: unknown kind `sitee`; did you mean `site`?"),
        ("tiers: {web: {kind: 3}}", "1:21: `kind`: `3` is no text; write it in quotes"),
        ("tiers: {Web: {kind: site}}", "1:9: `Web` is no name; write lower-case letters"),
        ("tiers: {all: {kind: site}}", "1:9: `all` is a reserved word; rename it"),
        ("tiers: {witness: {kind: site}}", "1:9: `witness` is a reserved word; rename it"),
        ("tiers: {local: {kind: site}}", "1:9: `local` is a region too; rename one"),
        ("tiers: {web: {kind: site}, web-1: {kind: site}}",
         "1:9: tier `web` has a node `web-1`, and a tier or region is called so too; rename one"),
        ("tiers: {web: {kind: front}}", "1:9: a front tier needs `balances`; add `balances: ...`"),
        ("tiers: {web: {kind: site, 3: 4}}", "1:27: unknown key `3` of a site tier; choose from"),
        ("tiers: {web: {kind: site, count: 4}}", "1:27: unknown key `count` of a site tier; did "
         "you mean `nodes`?"),
        ("tiers: {kv: {kind: sharded, shards: 0}}", "1:9: tier `kv`: `shards` must be at least 1"),
        # --- numbers, units, words
        ("tiers: {web: {kind: site, nodes: -1}}", "1:34: `nodes`: `-1` is below 0"),
        ("tiers: {web: {kind: site, nodes: '3'}}", "1:34: `nodes`: `3` is not a number; write a"),
        ("tiers: {web: {kind: site, nodes: 99999}}",
         "1:14: tier `web` has 99999 nodes; at most 10000"),
        ("tiers: {web: {kind: site, nodes: 2, per_region: 1}}",
         "1:37: tier `web` has both `nodes` and `per_region`; keep one"),
        ("tiers: {web: {kind: site, public: yes}}",
         "1:35: `public`: `yes` is neither; write true or false"),
        ("tiers: {web: {kind: site, share: 150%}}",
         "1:34: `share`: `150%` is impossible: the most is 1 (100%)"),
        ("tiers: {web: {kind: site, level: .inf}}", "1:34: `level`: `inf` is not a finite number"),
        ("tiers: {web: {kind: site, level: true}}", "1:34: `level`: a number is expected, not tru"),
        ("tiers: {web: {kind: site, buffer: 1e400B}}", "1:35: `buffer`: `1e400B` is not a finite"),
        ("tiers: {web: {kind: site, title: 3}}", "1:34: `title`: `3` is no text; write it in quot"),
        ("tiers: {web: {kind: site, title: [a]}}", "1:34: `title`: text is expected, not a list"),
        ('tiers: {web: {kind: site, title: "a\\nb"}}', "1:34: `title`: holds characters that cann"),
        ("tiers: {web: {kind: site, names: {a: b}}}", "1:34: `names`: a list is expected, not a m"),
        ("tiers: {web: {kind: site, names: [a, 3]}}", "1:38: `names`: `3` is no text; write it in"),
        ("tiers: {web: {kind: site, weights: {a: x}}}", "1:40: `a`: `x` is not a number"),
        ("tiers: {web: {kind: site, limits: 3}}", "1:35: `limits` is a mapping, not `3`; write {"),
        ("tiers: {web: {kind: front, balances: a, algorithm: leastconn}, a: {kind: site}}",
         "1:52: `algorithm`: `leastconn` is not known; did you mean `least_conn`?"),
        ("tiers: {web: {kind: front, balances: a, check_interval: 2}, a: {kind: site}}",
         "1:57: `check_interval`: 2 has no unit: it is a time; write 2s or 2ms"),
        ("tiers: {web: {kind: site, cpu: {cores: 0}}}", "1:40: `cores` must be at least 1; leave"),
        ("tiers: {web: {kind: site, cpu: 3}}", "1:32: `cpu` is a mapping, not `3`; write {key"),
        ("tiers: {web: {kind: site, disk: {bandwidth: 0}}}", "1:45: `bandwidth` and `capacity` of"),
        ("tiers: {web: {kind: site, restart: always}}",
         "1:36: `restart`: `always` is not known; choose from no, on-failure"),
        # --- edges and regions of tiers
        ("tiers: {web: {kind: front, balances: nope}}", "1:38: `balances`: there is no tier `nope"),
        ("tiers: {web: {kind: front, balances: web}}", "1:38: tier `web`: `balances` names itself"),
        ("tiers: {web: {kind: site, uses: [a, nope]}, a: {kind: site}}",
         "1:37: `uses`: there is no tier `nope`; choose from web, a"),
        ("regions: [us, eu]\ntiers: {web: {kind: site, regions: [uss]}}",
         "2:27: unknown region `uss`; did you mean `us`?"),
        ("regions: [us, eu]\ntiers: {web: {kind: site, nodes: {us: 1, ee: 2}}}",
         "2:42: unknown region `ee`; choose from us, eu"),
        (WEB + "faults: [{at: 1s, kill: 'web,outside'}]", "2:25: `kill`: `outside` is no node; it"),
        # --- users and outside
        ("users: {moon: {visits: web}}\n" + WEB, "1:9: users come from a region; there is no `moo"),
        ("users: {local: 3}\n" + WEB, "1:16: users are a mapping, not `3`; write {rate: 10/s}"),
        ("users: {local: {visits: web}}\n" + WEB, "1:25: `visits`: users reach public tiers only"),
        ("users: {local: {visits: web, public: true}}\ntiers: {web: {kind: site, public: true}}",
         "1:30: `public` does not belong to users; remove it"),
        ("users: {local: {visits: web, region: local}}\ntiers: {web: {kind: site, public: true}}",
         "1:30: unknown key `region` of a users tier; `local` names the region already: leave"),
        ("outside: {lnk: {}}\n" + WEB, "1:11: unknown key `lnk` of `outside`; did you mean `link`"),
        ("outside: {region: moon}\n" + WEB, "1:19: unknown region `moon`; choose from local"),
        # --- links
        ("links: {web: 3ms}\n" + WEB, "1:9: `web` is no link; write `a -> b`, `a <-> b` or `defau"),
        ("links: {web -> wbe: 3ms}\n" + WEB, "1:9: a link's end `wbe` is no region, tier or node"),
        ("links: {web -> local: 3}\n" + WEB, "1:23: `latency`: 3 has no unit: it is a time"),
        ("links: {web -> local: {latncy: 3ms}}\n" + WEB, "1:24: unknown key `latncy` of a link; d"),
        ("links: {defaults: {wthin: 3ms}}\n" + WEB, "1:20: unknown key `wthin` of `defaults`; did"),
        ("links: {web -> local: 3ms, web <-> local: 1ms}\n" + WEB,
         "1:28: the link web -> local is declared twice; keep one"),
        ("links: [3]\n" + WEB, "1:8: `links` is a mapping, not a list; write {defaults"),
        # --- faults
        ("faults: 3\n" + WEB, "1:9: `faults` is a list, not `3`; write [{at: 10s, kill: web-1}]"),
        ("faults: [3]\n" + WEB, "1:10: a fault is a mapping, not `3`; write for example {at: 10s"),
        ("faults: [{kill: web}]\n" + WEB, "1:10: a fault has no time; add `at: 10s`, or `on: eve"),
        ("faults: [{at: 1s, on: x, kill: web}]\n" + WEB, "1:19: a fault has both `at` and `on`"),
        ("faults: [{at: 1s, after: 1s, kill: web}]\n" + WEB, "1:19: `after` is about an event"),
        ("faults: [{at: 1s, since: 1s, kill: web}]\n" + WEB, "1:19: `since` is about an event"),
        ("faults: [{at: 1s, heal: all, for: 5s}]\n" + WEB,
         "1:30: `heal` leaves nothing that could be undone; remove `for`"),
        ("faults: [{at: 1s, disk: web}]\n" + WEB, "1:10: it does nothing; say `slow_factor`"),
        ("faults: [{at: 1s}]\n" + WEB, "1:10: a fault without a verb; write for example {at: 10s"),
        ("faults: [{at: 1s, kill: web, crash: web}]\n" + WEB, "1:30: one fault does one thing, no"),
        ("faults: [{at: 1s, kill: wbe}]\n" + WEB, "1:25: `kill`: nothing is called `wbe`; did you"),
        ("faults: [{at: 1s, kill: ''}]\n" + WEB, "1:25: `kill` of nothing; name a node, tier or r"),
        ("faults: [{at: 1s, kill: two wbe}]\n" + WEB, "1:25: `kill`: nothing is called `wbe`"),
        ("faults: [{at: 1s, slow: web, latncy: 1s}]\n" + WEB, "1:30: unknown key `latncy` of `slo"),
        ("faults: [{at: 1s, slow: {target: web, latency: 1}}]\n" + WEB, "1:48: `latency`: 1 has n"),
        ("faults: [{at: 1s, partition: [web, local, all]}]\n" + WEB, "1:30: `partition` cuts two"),
        ("faults: [{at: 1s, scale: web, nodes: many}]\n" + WEB, "1:38: `nodes`: `many` is not a n"),
        ("faults: [{at: -1s, kill: web}]\n" + WEB, "1:15: `at`: `-1s` is below 0; a time here can"),
        # --- expectations and accepted warnings
        ("expect: [errors]\n" + WEB, "1:10: `errors` is no expectation; write `metric >= value`"),
        ("expect: [3]\n" + WEB, "1:10: an expectation is text, not `3`; write `availability >= 99"),
        ("expect: [errors = 3]\n" + WEB, "1:10: `=` compares nothing; write `errors == 3`"),
        ("expect: [errors => 3]\n" + WEB, "1:10: `=>` compares nothing; write `errors >= 3`"),
        ("expect: [latency_p99 <= 3]\n" + WEB, "1:10: `latency_p99`: 3 has no unit: it is a time"),
        ("expect: [availability >= 99]\n" + WEB, "1:10: `availability`: `99` is impossible: the m"),
        ("expect: [errors < 0]\n" + WEB, "1:10: `errors < 0` can never hold; write `<=`, or"),
        ("expect: [availability > 100%]\n" + WEB, "1:10: `availability > 100%` can never hold"),
        ("expect: [latency_p98 <= 3s]\n" + WEB, "1:10: there is no metric `latency_p98`; did you"),
        ("accepts: {single-pont: why}\n" + WEB, "1:11: no warning is called `single-pont`; did yo"),
        ("accepts: {single-point wbe: why}\n" + WEB, "1:11: there is no tier `wbe`; did you mean"),
        ("accepts: {single-point: ''}\n" + WEB, "1:25: `single-point`: write why it is accepted"),
        # --- YAML itself
        ("tiers:\n  web: {kind: site}\n  web: {kind: site}", "3:3: duplicate key `web` (first in"),
        ("tiers:\n\tweb: {}",
         "2:1: not YAML: while scanning for the next token found character '\\t' that cannot start "
         "any token; indent with spaces, not tabs"),
        ("tiers: {web: {kind: site}", "1:26: not YAML: while parsing a flow mapping expected ','"),
        ("tiers: *nope", "1:8: not YAML: found undefined alias 'nope'; check the indentation"),
        (WEB + "---\n" + WEB, "2:1: not YAML: expected a single document in the stream"),
        (WEB + "name: \x01", "2:7: not YAML: character #x0001 is not allowed; remove it"),
        (WEB + "\x00", "2:1: not YAML: character #x0000 is not allowed; remove it"),
        ('name: "\\q"\n' + WEB, "1:9: not YAML: while scanning a double-quoted scalar found unkno"),
        ("name: !foo x\n" + WEB, "1:7: tag `!foo`: a topology is plain data; remove it"),
        ("name: !!binary ab\n" + WEB, "1:7: tag `!!binary`: a topology is plain data; remove it"),
        ("tiers: {web: !!python/object/apply:os.system {kind: site}}",
         "1:14: tag `!!python/object/apply:os.system`: a topology is plain data; remove it"),
        ("tiers: {web: &a {kind: site}, b: {<<: *a, kind: site}}", "1:35: merge keys (`<<`) are n"),
        ("tiers: {web: {kind: site}, [a]: {kind: site}}", "1:28: a key must be a word, not a list"),
    ],
)  # fmt: skip
def test_a_mistake_is_found_where_it_is_and_says_what_to_do(text: str, found: str) -> None:
    (only,) = mistakes(text)
    assert only.startswith(found), only


def test_aliases_that_blow_up_are_bounded() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    for n in range(1, 9):
        lines.append(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]")
    assert any("more than 100000 values; use fewer aliases" in each
               for each in mistakes("\n".join(lines)))  # fmt: skip


def test_a_mapping_that_holds_itself_is_refused() -> None:
    assert "1:8: nested deeper than 32 levels; flatten it" in mistakes("tiers: &a {web: *a}")


@pytest.mark.parametrize("text", ["tiers: " + "[" * 100 + "]" * 100, "{a: " * 500 + "}" * 500,
                                  "- " * 5000, "? " * 5000])  # fmt: skip
def test_deep_nesting_is_refused(text: str) -> None:
    assert any("nested deeper than 32 levels" in each for each in mistakes(text))


@pytest.mark.parametrize(
    ("opening", "column"), [("[", 40), ("{a: ", 133), ("[{a: ", 85), ("{[", 40), ("&a [", 136)]
)
def test_the_level_that_is_too_deep_is_named_and_what_follows_is_not_read(
    opening: str, column: int
) -> None:
    began_s = time.process_time()
    (found,) = mistakes("tiers: " + opening * 40_000)
    assert found == f"1:{column}: nested deeper than 32 levels; flatten it"
    assert time.process_time() - began_s < 1.0


def test_a_huge_file_is_refused_before_it_is_parsed(tmp_path: Path) -> None:
    file = tmp_path / "huge.yaml"
    file.write_text("#" * 300_000)
    with pytest.raises(TopologyError, match="larger than 262144 bytes; split it"):
        load(file, kinds=KINDS)


def test_a_file_that_is_not_utf8_says_where(tmp_path: Path) -> None:
    file = tmp_path / "latin.yaml"
    file.write_bytes("name: a\nseed: 3 # für\n".encode("latin-1"))
    with pytest.raises(TopologyError, match=r"latin\.yaml:2:12: not UTF-8 text; save it as UTF-8"):
        load(file, kinds=KINDS)


def test_a_byte_order_mark_and_windows_line_ends_are_no_mistakes(tmp_path: Path) -> None:
    file = tmp_path / "windows.yaml"
    file.write_bytes(b"\xef\xbb\xbfname: a\r\ntiers:\r\n  web: {kind: site}\r\n")
    assert load(file, kinds=KINDS).name == "a"


def test_naming_a_broken_tier_is_no_second_mistake() -> None:
    text = """
tiers:
  front: {kind: front, balances: web}
  web: {kind: sitee}
  kv: {kind: sharded, shards: 0}
  site: {kind: site, uses: kv}
links: {web -> kv: 3ms}
faults: [{at: 1s, kill: web-3}, {at: 1s, kill: kv-shard-1}, {at: 2s, kill: web primary}]
"""
    assert [each.partition(" ")[0] for each in mistakes(text)] == ["4:15:", "5:3:"]


def test_a_rule_of_a_kind_that_rests_on_a_wrong_value_is_no_second_mistake() -> None:
    text = "tiers: {a: {kind: front, balances: b, rise: x}, b: {kind: site}}"
    (only,) = mistakes(text)
    assert "`x` is not a number" in only


def test_what_a_kind_asks_of_a_tier_that_is_broken_is_no_second_mistake() -> None:
    text = """tiers:
  queue: {kind: queue, acks: 2}
  db: {kind: database}
  workers: {kind: worker, takes: queue, uses: db}"""
    with pytest.raises(TopologyError) as caught:
        loads(text)
    (only,) = caught.value.problems
    assert only.line == 2


PIECES = st.sampled_from(
    ["tiers", "web", "kind", "site", "front", "balances", "nodes", "3", "-1", "1e9", "2s", "64MB",
     ":", ": ", "{", "}", "[", "]", ",", "\n", "\n  ", "- ", "#", "'", '"', "&a ", "*a", "!!str ",
     "|", ">", "%", "@", "\t", "\x00", "é", "🐦", "faults", "at", "kill", "expect", "links", "->",
     "defaults", "users", "local", "null", "true", "~", "? ", "<<", "---", "..."]
)  # fmt: skip


@given(st.lists(PIECES, max_size=60).map("".join))
@example("tiers: {web: {kind: site, level: 1e999}}")
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_text_is_a_topology_or_a_list_of_mistakes(text: str) -> None:
    for each in mistakes(text):
        assert re.match(r"\d+:\d+: .+", each, re.DOTALL)


@pytest.mark.soak
@given(st.lists(PIECES, max_size=200).map("".join) | st.text(max_size=500))
@settings(max_examples=20_000, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_text_is_a_topology_or_a_list_of_mistakes_at_length(text: str) -> None:
    mistakes(text)


@pytest.mark.parametrize("verb", [["config"], ["up"]])
def test_the_command_prints_every_mistake_and_exits_with_3(tmp_path: Path, verb: list[str]) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text("tiers:\n  web: {kind: wbe}\n  db: {kind: database, nodes: -1}\n")
    answer = CliRunner().invoke(app, [*verb, str(file)])
    assert answer.exit_code == 3
    assert f"{file}:2:15: unknown kind `wbe`; did you mean `web`?" in answer.stderr
    assert f"{file}:3:31: `nodes`: `-1` is below 0" in answer.stderr
    assert "2 mistakes in" in answer.stderr
    assert answer.stdout == ""


def test_a_file_that_cannot_be_read_is_a_mistake_of_usage() -> None:
    answer = CliRunner().invoke(app, ["config", "/nowhere/at/all.yaml"])
    assert answer.exit_code == 2
    assert "cannot read /nowhere/at/all.yaml: No such file or directory" in answer.stderr


@pytest.mark.parametrize(
    "tier",
    [
        "web: {kind: web, nodes: 2, public: true, uses: kv, reads: replicas}",
        "them: {kind: clients, asks: kv, workload: register, reads: replicas}",
        "them: {kind: clients, asks: kv-router, workload: hot, reads: replicas}",
    ],
)
def test_a_word_for_databases_is_refused_on_a_kv_tier_and_the_right_one_named(tier: str) -> None:
    text = f"tiers: {{kv: {{kind: kv, public: true}}, {tier}}}"
    with pytest.raises(TopologyError) as caught:
        loads(text)
    (problem,) = caught.value.problems
    assert "`reads: replicas` is for a database" in str(problem)
    assert "`max_lag: 1s`" in str(problem)
    loads(text.replace(", reads: replicas", "").replace("kind: kv,", "kind: kv, max_lag: 1s,"))
