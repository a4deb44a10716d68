"""What rules may say: what is understood is what Prometheus understands, the rest is refused."""

from __future__ import annotations

import math
import re

import pytest

from emu.alerts.evaluating import evaluate, increase, quantile
from emu.alerts.language import MAX_DEPTH, Labels, parse
from emu.alerts.rules import filled, load
from emu.alerts.series import Store


def store(*samples: tuple[str, Labels, float]) -> Store:
    made = Store({"a": 0.0, "b": 0.0})
    made.scraped("node", 0.0, samples)
    return made


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("a or b", "`or`"),
        ("a unless b", "`unless`"),
        ("a > bool 1", "`bool`"),
        ("a / ignoring (x) b", "`ignoring`"),
        ("sum without (x) (a)", "`without`"),
        ("a ^ 2", "`^`"),
        ("a @ 3", "`@`"),
        ("deriv(a[1m])", "`deriv()`"),
        ('a{x=~"("}', "no pattern"),
        ("a{x=1}", "`x=1`"),
        ("rate(a)", "`rate()`"),
        ("rate(a[1m], 2)", "`rate()`"),
        ("1 > 2", "`>`"),
        ("a[1m:5s]", "`:5s`"),
        ("a[1x]", "`1x`"),
        ("topk(3, a)", "`topk()`"),
        ("a >", "the end"),
        ("(a", "the end"),
        ("a b", "`b`"),
        ("a[1m] > 0", "`a[...]`"),
        ("a[1m]", "`a[...]`"),
        ("sum(a[1m])", "`a[...]`"),
        ("histogram_quantile(0.5, a[1m])", "`a[...]`"),
        ("rate(a[0s])", "above 0"),
        ("2*5 > 1+1", "`>`"),
        ("sum(2*5)", "`sum()`"),
        ("a and 2*5", "`and`"),
        ("a > on (x) 2*5", "`on`"),
        (r'a{x=~"a\.b"}', r"`\.`"),
        (r'a{x="\d"}', r"`\d`"),
        (r'a{x="\ud800"}', r"`\ud800`"),
        (r"""a{x="it\'s"}""", r"`\'`"),
        (r"a{x=~`(?=b)`}", "`(?=`"),
        (r"a{x=~`(b)\1`}", r"`\1`"),
        (r"a{x=~`[[:alpha:]]`}", "`[[:`"),
        (r"a{x=~`b++`}", "`++`"),
        ("(" * (MAX_DEPTH + 1) + "a", "too deep"),
    ],
)
def test_what_is_not_evaluated_here_is_refused_by_its_name(text: str, named: str):
    with pytest.raises(ValueError, match=re.escape(named)):
        parse(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1 + 2 * 3", 7.0),
        ("(1 + 2) * 3", 9.0),
        ("7 - 2 - 1", 4.0),
        ("7 % 4", 3.0),
        ("a{x='1'} + 1", {(("x", "1"),): 3.0}),
        ("sum(a) / sum(b)", {(): 0.5}),
        ("max by (x) (a) > 2", {(("x", "2"),): 3.0}),
        ("3 == a", {(("x", "2"),): 3.0}),
        ("a and on (x) b", {(("x", "1"),): 2.0}),
        ('a{x!="1"}', {(("x", "2"),): 3.0}),
        ('a{x=~"1|3"}', {(("x", "1"),): 2.0}),
        ('a{x!~"1.*"}', {(("x", "2"),): 3.0}),
        ("a == 99", {}),
        ("2*5 < a * 4", {(("x", "2"),): 12.0}),
        ("(1 + 1) >= a", {(("x", "1"),): 2.0}),
        ("count(a)", {(): 2.0}),
    ],
)
def test_an_expression_comes_to_what_prometheus_makes_of_it(text: str, value: object):
    there = store(("a", (("x", "1"),), 2.0), ("a", (("x", "2"),), 3.0), ("b", (("x", "1"),), 10.0))
    assert evaluate(parse(text), there, 0.0) == value


@pytest.mark.parametrize(
    ("matcher", "taken"),
    [
        (r'=~"a\\.b"', "a.b"),
        (r"=~`a\.b`", "a.b"),
        (r"""=~'a\\.b'""", "a.b"),
        (r'="say \"it\""', 'say "it"'),
        (r"""='it\'s'""", "it's"),
        (r'="\x41\102\u00e9"', "ABé"),
        (r'="two\nlines"', "two\nlines"),
        (r'=~"\\d+"', "7"),
    ],
)
def test_a_text_is_read_with_the_escapes_that_prometheus_reads(matcher: str, taken: str):
    there = store(("a", (("x", taken),), 1.0), ("a", (("x", "aXb"),), 2.0), ("a", (), 3.0))
    assert evaluate(parse(f"a{{x{matcher}}}"), there, 0.0) == {(("x", taken),): 1.0}


def test_digits_are_those_that_prometheus_takes_for_digits():
    there = store(("a", (("x", "\u0663"),), 1.0))
    assert evaluate(parse(r"a{x=~`\d`}"), there, 0.0) == {}


def test_series_that_are_alike_in_what_is_matched_are_refused():
    there = store(("a", (("x", "1"),), 2.0), ("a", (("x", "2"),), 3.0), ("b", (), 10.0))
    with pytest.raises(ValueError, match="two series are alike"):
        evaluate(parse("a / on (y) b"), there, 0.0)


def test_what_a_target_tells_no_more_is_gone_at_once_and_comes_back():
    there = store(("a", (), 1.0))
    there.scraped("node", 1.0, ())
    assert evaluate(parse("a"), there, 1.0) == {}
    there.scraped("node", 2.0, [("a", (), 5.0)])
    assert evaluate(parse("a"), there, 2.0) == {(): 5.0}


def test_a_counter_that_began_again_has_not_shrunk():
    samples = [(0.0, 10.0), (1.0, 20.0), (2.0, 3.0), (3.0, 8.0)]
    assert increase(samples, 0.0, 3.0) == pytest.approx(18.0)


def test_a_quantile_lies_on_the_line_between_two_bounds():
    assert quantile(0.5, [(1.0, 10.0), (2.0, 30.0), (math.inf, 40.0)]) == pytest.approx(1.5)
    assert math.isnan(quantile(0.5, [(1.0, 0.0), (math.inf, 0.0)]))
    assert math.isnan(quantile(0.5, [(1.0, 3.0), (2.0, 4.0)]))


def test_a_file_names_the_rule_that_it_cannot_be_read_for(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("groups: [{rules: [{alert: Mine, expr: absent(up)}]}]")
    with pytest.raises(ValueError, match=r"mine.yaml: Mine: `absent\(\)` is not evaluated here"):
        load(path)


@pytest.mark.parametrize(
    ("text", "value", "shown"),
    [
        ("{{ $value }}", 1e6, "1e+06"),
        ("{{ $value }}", 0.00001, "1e-05"),
        ("{{ $value }}", 8192.0, "8192"),
        ("{{ $value | humanizeDuration }}", 100.0, "1m 40s"),
        ("{{ $value | humanizeDuration }}", 0.0982, "98.2ms"),
        ("{{ $value | humanizeDuration }}", 90061.0, "1d 1h 1m 1s"),
        ("{{ $value | humanizePercentage }}", 0.125, "12.5%"),
        ("{{ $value | humanize }}", 1234.5, "1.234k"),
        ("{{ $value | humanize }}", 0.02, "20m"),
        ("{{ $labels.node }} of {{$labels.tier}}", 0.0, "db-1 of "),
    ],
)
def test_what_is_told_of_an_alert_is_filled_in_as_prometheus_does(text, value, shown):
    assert filled(text, {"node": "db-1"}, value) == shown
