"""Formulas of queueing, against their textbooks' values and each other."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emu.planning.queueing import erlang_c, machines, wait_s


def test_one_server_waits_as_often_as_it_is_busy():
    assert erlang_c(1, 0.3) == pytest.approx(0.3)


def test_erlang_c_is_as_in_its_tables():
    assert erlang_c(2, 1.0) == pytest.approx(1 / 3)
    assert erlang_c(10, 8.0) == pytest.approx(0.4092, abs=1e-4)


@given(st.integers(1, 60), st.floats(0.01, 0.99))
def test_more_servers_at_the_same_load_wait_less(servers, share):
    assert erlang_c(servers + 1, share * (servers + 1)) <= erlang_c(servers, share * servers) + 1e-9


def test_a_constant_service_time_halves_the_wait_of_a_random_one():
    exponential = wait_s(1, 0.01, 50, varies=1.0)
    assert exponential == pytest.approx(0.01)  # rho / (mu - lambda)
    assert wait_s(1, 0.01, 50) == pytest.approx(exponential / 2)


def test_beyond_the_ceiling_the_wait_has_no_end():
    assert wait_s(2, 0.01, 200) == math.inf


def test_machines_are_rounded_up_and_one_may_be_lost():
    assert machines(5.78, 1, at_most=0.7, spare=1) == 10
    assert machines(0.0, 4, at_most=0.7, spare=1) == 2
    assert machines(1.4, 2, at_most=0.7, spare=0) == 1
