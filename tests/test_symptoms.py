"""What users of real caches, autoscalers and retries complained of, and the test that holds us to
what is right. (Those of other families are in files of theirs: tests/sim/test_queue_symptoms.py.)
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
COVERED = {
    "a returning cache node serves values deleted meanwhile": (
        "sim/test_cache.py::test_a_node_that_was_paused_shows_nothing_old_when_it_is_back",
        "nodes/cache/test_client.py"
        "::test_what_was_set_at_the_gutter_the_owner_does_not_show_as_it_was",
    ),
    "an idle gutter node stays suspect": (
        "nodes/cache/test_client.py"
        "::test_an_idle_gutter_node_that_was_away_is_probed_and_not_suspect_for_ever",
    ),
    "a rejoining node is used unchecked": (
        "nodes/cache/test_client.py::test_a_node_that_is_back_is_not_asked_before_it_was_probed",
        "sim/test_cached_site.py::test_a_node_that_is_away_is_probed_before_it_is_asked_again",
    ),
    "the leader of a single flight dies: its key is poisoned, or who waits hangs": (
        "nodes/cache/test_desk.py::test_the_end_of_its_holders_connection_frees_a_token_at_once",
        "nodes/parts/test_flights.py::test_when_the_one_that_fetches_is_cancelled_another_does",
    ),
    "who waits for a fill is released late": (
        "sim/test_cache.py::test_when_the_one_that_fills_gives_up_another_is_next_at_once",
    ),
    "lag is wrong after trimming, or below 0 and asks for the maximum": (
        "nodes/autoscaler/test_lag.py::test_lag_is_what_is_there_and_not_read",
    ),
    "stuck at 63 of 64 because of the tolerance": (
        "nodes/autoscaler/test_lag.py::test_the_cap_is_reached_though_it_is_within_the_tolerance",
    ),
    "a scale-down kills a busy worker": (
        "sim/test_scaling.py::test_a_busy_worker_that_is_scaled_away_ends_its_job_first",
    ),
    "overload makes members unready, nothing is measured, and nothing is scaled": (
        "nodes/autoscaler/test_measured.py"
        "::test_who_was_ready_for_long_and_is_not_any_more_counts_with_what_it_does",
    ),
    "retries in backoff are not in the budget": (
        "nodes/parts/test_backoff.py::test_a_retry_is_charged_when_it_is_decided",
    ),
    "a retry quota never refills": (
        "nodes/parts/test_backoff.py::test_only_success_refills_the_budget",
    ),
    "a breaker stays half-open for ever": (
        "nodes/parts/test_breaker.py"
        "::test_a_trial_of_which_nothing_is_heard_makes_room_for_another",
    ),
}


@pytest.mark.parametrize("symptom", COVERED)
def test_each_symptom_has_its_test(symptom: str) -> None:
    for word in COVERED[symptom]:
        file, _, name = word.partition("::")
        tree = ast.parse((TESTS / file).read_text())
        functions = (ast.FunctionDef, ast.AsyncFunctionDef)
        assert name in [each.name for each in tree.body if isinstance(each, functions)], word
