"""Several metrics, limits, and what happens where little is known."""

from __future__ import annotations

from typing import Any

import pytest

from nodes.autoscaler.config import AutoscalerConfig, ScaleDown, Targets
from nodes.autoscaler.lag import Lag
from nodes.autoscaler.replicas import NoReading, Sample, Seen
from nodes.autoscaler.scaler import CPU, REQUESTS, Reading, Scaler

TARGETS = Targets(cpu_ratio=0.5, requests_per_s=20.0)
NOW_S = 1000.0


def scaler(targets: Targets = TARGETS, **options: Any) -> Scaler:
    options = {"max_nodes": 20, **options}
    return Scaler(AutoscalerConfig("web", targets, scale_down=ScaleDown(window_s=0.0), **options))


def by_lag(**options: Any) -> Scaler:
    targets = Targets(lag=10.0)
    return scaler(targets, lag_of="queue", topics=("jobs",), **options)


def seen(values: list[int | None], has: int = 1000) -> list[Seen]:
    return [
        Seen(f"web-{number}", None if value is None else Sample(value, NOW_S, 15.0), has)
        for number, value in enumerate(values)
    ]


def reading(cpu: list[int | None], requests: list[int | None]) -> Reading:
    return Reading({CPU: seen(cpu), REQUESTS: seen(requests)})


def test_of_several_metrics_the_largest_wins():
    decision = scaler().decide(2, reading([500, 500], [60_000, 60_000]), NOW_S)
    assert decision.nodes == 6
    assert decision.why.startswith("requests 60 of 20")
    assert decision.ratios == {CPU: 1.0, REQUESTS: 3.0}


def test_one_metric_that_is_not_known_does_not_keep_it_from_growing():
    assert scaler().decide(2, reading([1000, 1000], [None, None]), NOW_S).nodes == 4


def test_one_metric_that_is_not_known_keeps_it_from_shrinking():
    with pytest.raises(NoReading, match="fewer would do, but requests: nothing is known"):
        scaler().decide(2, reading([100, 100], [None, None]), NOW_S)


def test_who_is_beyond_a_limit_comes_back_at_once():
    nothing = reading([], [])
    assert scaler().decide(25, nothing, NOW_S).nodes == 20
    assert scaler(min_nodes=3).decide(1, nothing, NOW_S).nodes == 3


def test_what_limits_it_is_told():
    decision = scaler(max_nodes=3).decide(2, reading([1000, 1000], [0, 0]), NOW_S)
    assert (decision.asked, decision.nodes) == (4, 3)
    assert decision.why.endswith("; 3 by max_nodes")


def test_the_last_one_goes_home_when_nothing_has_waited_for_long():
    tier = by_lag(min_nodes=0, cooldown_s=300.0)
    assert tier.decide(1, Reading({}, Lag(5, 4)), 1000.0).nodes == 1
    assert tier.decide(1, Reading({}, Lag(0, 4)), 1100.0).nodes == 1
    assert tier.decide(1, Reading({}, Lag(0, 4)), 1301.0).nodes == 0
    assert tier.decide(0, Reading({}, Lag(1, 4)), 1302.0).nodes == 1


def test_the_last_one_stays_where_one_shall_be():
    tier = by_lag()
    assert tier.decide(1, Reading({}, Lag(0, 4)), NOW_S).nodes == 1


def test_a_queue_that_does_not_answer_changes_nothing():
    with pytest.raises(NoReading, match="lag: the queue does not say"):
        by_lag().decide(3, Reading({}), NOW_S)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"targets": Targets()}, "nothing to keep to"),
        ({"targets": Targets(lag=10.0)}, "`lag_of`"),
        ({"lag_of": "queue", "topics": ("jobs",)}, "`lag_of`"),
        ({"min_nodes": 0}, "who is not there"),
        ({"min_nodes": 5, "max_nodes": 4}, "`min_nodes`"),
        ({"sync_s": 0.0}, "`sync`"),
    ],
)
def test_what_makes_no_sense_is_refused(options: dict[str, Any], why: str):
    with pytest.raises(ValueError, match=why):
        AutoscalerConfig("web", **{"targets": TARGETS, **options})
