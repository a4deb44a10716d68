"""The message queue's words, as any MessagePack-RPC client may call them, and their limits.

A record is `[key, value, headers]`: the key text, bytes or nil, the value whatever MessagePack has,
headers a map with text keys. The last two may be left out. `options` is a map and may be left out.

`topics()` → {"tiers": [broker tier, ...], "topics": {name: options}}
`declare(topic, options)` → whether it is new. options: nodes/queue/topics.py has them; a topic that
    is there keeps what it has, and other options are `refused`. The topic of its dead letters is
    made where there is none; one that cannot take them is a `bad_request`
`producer(name, options)` → [id, epoch]: who publishes with it may repeat itself. The same name (""
    for none) fences whoever had it before: the epoch is the next one. It is known in one broker
    group. options: `partition` (at the front: whose)
`publish(topic, records, options)` → [[partition, offset], ...], in the records' order, when they
    are as durable as the queue's `acks` says. options: `partition` (for all of them; else each key
    decides, and records without one go together), `producer` ([id, epoch, sequence of the first]:
    all in one partition; what was published already gets its first offset)
`poll(topic, partition, offset, options)` → {"records": [[offset, time ms, key, value, headers],
    ...], "start", "end"}: from that offset on; `end` is the high watermark. options: `max_records`,
    `max_bytes`, `wait_ms` (how long to wait for the first)
`offsets(topic, options)` → [[partition, start, end], ...]. options: `time_ms` (each has a fourth:
    the first offset that is not older)

Consumer groups share the partitions of topics among members, and remember how far each is read:
`heartbeat(group, member, epoch, options)` → {"epoch", "partitions": [[topic, partition], ...],
    "heartbeat_ms"}: what the member may read from now on, and by which generation it commits. It
    begins with epoch 0 and leaves with -1. options: `topics`, `owned` (what it reads still: a
    partition that it must give up goes to nobody else until it is not among them), `session_ms`
    (who is silent for so long is no member any more), `release_ms` (nor who keeps for so long what
    it must give up), `beat` (a number that grows: an older one is refused)
`commit(group, member, epoch, offsets)` → how many. offsets: [[topic, partition, next offset], ...].
    An offset only grows. A `member` of "" commits for a group that has none
`committed(group)` → {"epoch", "members", "offsets": [[topic, partition, offset], ...]}
`seek(group, offsets)` → how many: back, or on, while the group has no members

Work queues hand each record to one worker of a group at a time, until one has done it:
`acquire(topic, group, consumer, options)` → {"deliveries": [[partition, offset, delivery, failed,
    time ms, key, value, headers], ...]}. `consumer` is the worker's own word. options: `max`,
    `wait_ms`, `lock_ms` (then it goes to another), `attempt` (a number that grows: the same again
    gives what it gave, as far as that is still held)
`ack(topic, group, deliveries, options)` → {"published": [[partition, offset], ...]}: done.
    deliveries: [[partition, offset, delivery], ...], all or none. options: `publish` ([topic,
    records, options as of publish]): both, or neither
`nack(topic, group, deliveries, options)` → how many: failed. options: `delay_ms`
`renew(topic, group, deliveries, options)` → how many: it takes longer. options: `lock_ms`
`terminate(topic, group, deliveries)` → how many: not to be tried again; to the dead letters
`standing(topic, group)` → [[partition, start, floor, end, undone, [offset given up, ...]], ...]:
    how far a work group is. Before `floor` all is over; what is given up is parked, or among the
    dead letters (of those the last)
`release(topic, group, consumer, options)` → how many it gave back. options: `failed` (they count
    as failures, as those of a broken connection do)
`revive(topic)` → how many records that were parked (failed for good, where nobody takes dead
    letters) may be tried again, as if they had never failed: at a time so many at most
`groups()` → [{"topic", "group", "kind" (work or consumers), "members", "lag", "in_flight",
    "failed_for_good", "lost"}, ...], of what lives here
A broken connection fails what its consumers hold, at once.

Refusals are definite: `not_found` (no such topic), `bad_request`, `too_large`, `moved` (details:
partition, broker tier), `out_of_range` (details: start, end), `full` (the topic is), `overloaded`,
`fenced` (a later epoch of that producer), `unknown_producer` (forgotten: begin anew, and what was
not answered is not known), `out_of_sequence` (details: the sequence that is next),
`stale_generation`, `stale_delivery` (it went to another since), `settled` (done already; details:
partition, offset, by which delivery: 0 if it was given up, -1 if that is forgotten),
`not_primary`, `unavailable`, `no_space`.
"""

from __future__ import annotations

from typing import Final

TOPICS: Final = "topics"
DECLARE: Final = "declare"
PRODUCER: Final = "producer"
PUBLISH: Final = "publish"
POLL: Final = "poll"
OFFSETS: Final = "offsets"
HEARTBEAT: Final = "heartbeat"
COMMIT: Final = "commit"
COMMITTED: Final = "committed"
SEEK: Final = "seek"
ACQUIRE: Final = "acquire"
ACK: Final = "ack"
NACK: Final = "nack"
RENEW: Final = "renew"
TERMINATE: Final = "terminate"
RELEASE: Final = "release"
REVIVE: Final = "revive"
GROUPS: Final = "groups"
STANDING: Final = "standing"

WAITING: Final = (POLL, ACQUIRE)
"""What may wait until there is something to answer."""

JOINING: Final = 0
LEAVING: Final = -1
"""Epochs of a member that comes and of one that goes."""

FORGOTTEN: Final = -1
"""In place of the delivery by which a record was settled."""

MAX_TOPIC_CHARS: Final = 100
MAX_NAME_CHARS: Final = 200
"""Of groups, members, consumers, producers."""
MAX_KEY_BYTES: Final = 1024
MAX_RECORD_BYTES: Final = 256 * 1024
MAX_BATCH_BYTES: Final = 384 * 1024
"""Of all records of one publish, packed: with its frame it fits one record of the log."""
MAX_BATCH: Final = 1000
MAX_POLLED: Final = 1000
MAX_POLLED_BYTES: Final = 1 << 20
MAX_ACQUIRED: Final = 100
MAX_GIVEN_UP: Final = 1000
"""Offsets of a partition that `standing` names."""
MAX_REVIVED: Final = 10_000
"""Records that `revive` brings back at once, of a broker group."""
MAX_WAIT_MS: Final = 30_000
MAX_LOCK_MS: Final = 12 * 3_600_000
MAX_DELAY_MS: Final = 7 * 86_400_000
MAX_PARTITIONS: Final = 1024
MAX_SESSION_MS: Final = 600_000
