"""stdout and stderr as a command has them: whatever their encoding, their device or their end, what
is printed is printed, or its refusal is an error with a cause. Imported before everything else.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import Any


class OutputRefused(Exception):
    """What a command had to say could not be written; the message says where, and why not."""


class Output:
    """A text stream that escapes what its encoding lacks, and says so where its device refuses.

    A broken pipe stays one: whoever read has read enough.
    """

    def __init__(self, stream: io.TextIOWrapper, name: str) -> None:
        stream.reconfigure(errors="backslashreplace")
        self._stream = stream
        self._name = name

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError as error:
            raise self._refusal(error) from error

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            raise self._refusal(error) from error

    def _refusal(self, error: OSError) -> Exception:
        _forget(self._stream)
        if isinstance(error, BrokenPipeError):
            return error
        return OutputRefused(f"cannot write to {self._name}: {error.strerror}")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class Notes(Output):
    """stderr: nobody is there to be told of its refusals."""

    def write(self, text: str) -> int:
        try:
            return super().write(text)
        except OutputRefused:
            return len(text)

    def flush(self) -> None:
        try:
            super().flush()
        except OutputRefused:
            pass


def _forget(stream: io.TextIOWrapper) -> None:
    """What waits in its buffers goes nowhere: it would be tried again at the end, and refused."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, stream.fileno())
    finally:
        os.close(nowhere)


class _Closed(io.RawIOBase):
    """What a closed descriptor says; the descriptor itself is taken, or a file would get it."""

    def __init__(self, number: int) -> None:
        self._number = number
        while (taken := os.open(os.devnull, os.O_RDWR)) < number:
            pass
        if taken > number:
            os.close(taken)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._number

    def write(self, data: Any) -> int:
        raise OSError(errno.EBADF, "it is closed")


def guard() -> None:
    """Put them in place of Python's own, which are None where a descriptor is closed."""
    if sys.stdin is None:
        sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: SIM115 - for as long as we run
    sys.stdout = Output(_found(sys.stdout, 1), "stdout")
    sys.stderr = Notes(_found(sys.stderr, 2), "stderr")


def _found(stream: Any, number: int) -> io.TextIOWrapper:
    if stream is not None:
        return stream  # type: ignore[no-any-return]
    raw: Any = _Closed(number)
    return io.TextIOWrapper(raw, encoding="utf-8", write_through=True)


def refusal_in(error: BaseException) -> OutputRefused | None:
    """The refusal that this is, or that is among these."""
    if isinstance(error, BaseExceptionGroup):
        return next(filter(None, map(refusal_in, error.exceptions)), None)
    return error if isinstance(error, OutputRefused) else None
