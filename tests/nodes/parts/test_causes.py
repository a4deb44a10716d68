"""Why a connection failed, as events and answers say it."""

from __future__ import annotations

import errno

import pytest
import trio

from nodes.parts.causes import in_words


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"), "connection refused"),
        (OSError(errno.ECONNREFUSED, "web-1:8080"), "connection refused (web-1:8080)"),
        (TimeoutError(errno.ETIMEDOUT, "web-1 does not answer"),
         "timed out (web-1 does not answer)"),
        (TimeoutError("no connection after 2 s"), "no connection after 2 s"),
        (ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"), "connection reset"),
        (OSError(errno.EMFILE, "Too many open files"), "Too many open files"),
        (trio.BrokenResourceError(), "the connection broke"),
        (TimeoutError(), "timed out"),
    ],
)  # fmt: skip
def test_an_error_is_told_without_numbers(error: Exception, words: str) -> None:
    assert in_words(error) == words
