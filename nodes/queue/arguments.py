"""The checks of what clients sent, before anything is decided by it. Pure.

Each raises RpcError with a clear code; nothing here knows what there is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgpack

from nodes.queue.desk import Desk
from nodes.queue.publishing import Batch, ProducerAt
from nodes.queue.state import Topic
from nodes.queue.working import Delivery
from protocols.errors import RpcError
from protocols.queue.names import label_problem
from protocols.queue.placement import partition_of
from protocols.queue.words import (
    MAX_BATCH,
    MAX_BATCH_BYTES,
    MAX_KEY_BYTES,
)

NO_OPTIONS: Final[dict[str, Any]] = {}
MOST_INTEGER: Final = 1 << 53


def bad(why: str) -> RpcError:
    return RpcError("bad_request", why)


def checked_name(value: Any, what: str) -> str:
    """Of a group, a member, a consumer, a producer."""
    if problem := label_problem(value):
        raise bad(f"{what} is {problem}")
    return str(value)


def only(options: dict[str, Any] | None, *known: str) -> dict[str, Any]:
    """The options, if they are among these."""
    if options is None:
        return NO_OPTIONS
    for name in options:
        if name not in known:
            raise bad(f"no option {str(name)[:40]!r}; there are: {', '.join(known) or 'none'}")
    return options


def number_of(options: dict[str, Any], name: str, default: int, least: int, most: int) -> int:
    """A whole number; what is above `most` counts as that."""
    value = options.get(name)
    if value is None:
        return default
    if type(value) is not int or value < least:
        raise bad(f"`{name}` is a whole number of at least {least}")
    return min(value, most)


def checked_offset(value: Any) -> int:
    if type(value) is not int or not 0 <= value < MOST_INTEGER:
        raise bad("an offset is a whole number of at least 0")
    return value


# --- records -------------------------------------------------------------------------------------


class Packing:
    """Turns records as they came into batches for partitions."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._pack = msgpack.Packer(autoreset=True).pack
        self._spread = 0
        """Records without a key go to the partitions in turn."""

    def batches(self, name: Any, records: Any, options: dict[str, Any]) -> list[Batch]:
        """By partition, each record where its key says."""
        topic = self._desk.topic(name)
        if type(records) is not list or not 0 < len(records) <= MAX_BATCH:
            raise bad(f"records are a list of 1 to {MAX_BATCH}")
        fixed = options.get("partition")
        if fixed is not None:
            self._desk.check_partition(topic, fixed)
        producer = producer_of(options["producer"]) if "producer" in options else None
        most_bytes = topic.options.record_bytes
        payloads = [self._packed(each, most_bytes) for each in records]
        size_bytes = sum(map(len, payloads))
        if size_bytes > MAX_BATCH_BYTES:
            raise RpcError(
                "too_large", f"records of {size_bytes} bytes at once; at most {MAX_BATCH_BYTES}"
            )
        if fixed is not None:
            return [Batch(topic, fixed, payloads, size_bytes, producer)]
        found = self._by_key(topic, records, payloads)
        if len(found) > 1 and producer is not None:
            raise bad("records of a `producer` go to one partition at a time; name it")
        for number in found:
            self._desk.check_partition(topic, number)
        return [
            Batch(topic, number, some, sum(map(len, some)), producer)
            for number, some in found.items()
        ]

    def _by_key(
        self, topic: Topic, records: list[Any], payloads: list[bytes]
    ) -> dict[int, list[bytes]]:
        """Those without a key go to one partition together."""
        found: dict[int, list[bytes]] = {}
        keyless = -1
        for (key, *_), payload in zip(records, payloads, strict=True):
            if key is not None:
                number = partition_of(key, topic.options.partitions)
            else:
                number = keyless = keyless if keyless >= 0 else self._any(list(topic.partitions))
            found.setdefault(number, []).append(payload)
        return found

    def _any(self, numbers: Sequence[int]) -> int:
        if not numbers:
            raise bad("no partition of this topic lives here: name one, or ask the front")
        self._spread += 1
        return numbers[self._spread % len(numbers)]

    def _packed(self, record: Any, most_bytes: int) -> bytes:
        if type(record) is not list or not 1 <= len(record) <= 3:
            raise bad("a record is [key, value, headers]")
        key, value, headers = record if len(record) == 3 else (*record, None, None)[:3]
        if key is not None:
            check_key(key)
        if headers is None:
            headers = NO_OPTIONS
        elif type(headers) is not dict or not all(type(each) is str for each in headers):
            raise bad("headers are a map with text keys")
        payload: bytes = self._pack((key, value, headers))
        if len(payload) > most_bytes:
            raise RpcError("too_large", f"a record of {len(payload)} bytes; at most {most_bytes}")
        return payload


def check_together(batches: Sequence[Batch]) -> None:
    """Raises RpcError where they are more than may be published at once."""
    records = sum(len(each.payloads) for each in batches)
    size_bytes = sum(each.size_bytes for each in batches)
    if records > MAX_BATCH or size_bytes > MAX_BATCH_BYTES:
        raise RpcError(
            "too_large", f"{records} records of {size_bytes} bytes at once; at most {MAX_BATCH} of"
            f" {MAX_BATCH_BYTES}"
        )  # fmt: skip


def check_key(key: Any) -> None:
    if type(key) not in (str, bytes):
        raise bad("a key is text, bytes or nil")
    size_bytes = len(key_bytes(key))
    if size_bytes > MAX_KEY_BYTES:
        raise RpcError("too_large", f"a key of {size_bytes} bytes; at most {MAX_KEY_BYTES}")


def key_bytes(key: str | bytes) -> bytes:
    """Raises RpcError for text that is none."""
    try:
        return key if isinstance(key, bytes) else key.encode()
    except UnicodeEncodeError as error:
        raise bad(f"a key is Unicode text: {error.reason}") from error


def producer_of(value: Any) -> ProducerAt | None:
    match value:
        case None:
            return None
        case [str(name), int(epoch), int(sequence)] if (
            type(epoch) is int and type(sequence) is int and 0 <= sequence < MOST_INTEGER
        ):
            return ProducerAt(name, epoch, sequence)
    raise bad("`producer` is [id, epoch, sequence]")


# --- lists of places -----------------------------------------------------------------------------


def deliveries_of(value: list[Any]) -> list[Delivery]:
    """[[partition, offset, delivery], ...]."""
    if not 0 < len(value) <= MAX_BATCH:
        raise bad(f"deliveries are a list of 1 to {MAX_BATCH}")
    found = []
    for each in value:
        if type(each) is not list or len(each) != 3 or any(type(part) is not int for part in each):
            raise bad("a delivery is [partition, offset, delivery]")
        found.append(Delivery(*each))
    return found


def offsets_of(value: list[Any]) -> list[tuple[str, int, int]]:
    """[[topic, partition, offset], ...]."""
    if not 0 < len(value) <= MAX_BATCH:
        raise bad(f"offsets are a list of 1 to {MAX_BATCH}")
    found = []
    for each in value:
        match each:
            case [str(topic), int(number), int(offset)] if (
                type(number) is int and type(offset) is int and 0 <= offset < MOST_INTEGER
            ):
                found.append((topic, number, offset))
            case _:
                raise bad("an offset is told as [topic, partition, offset]")
    return found


def owned_of(value: Any) -> tuple[tuple[str, int], ...]:
    """[[topic, partition], ...]."""
    if type(value) is not list or len(value) > 100 * MAX_BATCH:
        raise bad("`owned` is a list of [topic, partition]")
    found = []
    for each in value:
        match each:
            case [str(topic), int(number)]:
                found.append((topic, number))
            case _:
                raise bad("`owned` is a list of [topic, partition]")
    return tuple(found)


def topics_of(value: Any) -> tuple[str, ...]:
    if type(value) is not list or len(value) > MAX_BATCH:
        raise bad("`topics` is a list of names")
    if not all(type(each) is str for each in value):
        raise bad("`topics` is a list of names")
    return tuple(dict.fromkeys(value))
