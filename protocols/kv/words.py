"""The sharded KV store's commands, as any MessagePack-RPC client may call them, and their limits.

Keys are text, values are nil-free scalars (text, bytes, integers, floats, booleans), lists or
documents (maps with text keys). `options` is a map and may be left out.

`get(key, options)` → value or nil. options: `max_lag_ms` (a replica may answer, so far behind)
`mget(keys, options)` → [value or nil, ...]. options: `atomic` (one slot, or `crossslot`); at a
    router also `partial` and `shard_timeout_ms` (see below)
`set(key, value, options)` → true, or false if the condition did not hold. options: `ttl_ms`,
    `keep_ttl`, `if` ("absent" or "present"), `request_id`
`delete(key, options)` → whether it was there
`incr(key, by, options)` → the new integer (a missing key counts from 0)
`append(key, suffix, options)` → the new length (text to text, bytes to bytes, list to list).
    options: `keep` (only its last so many items stay), `request_id`
`compare_and_set(key, expected, value, options)` → whether it was `expected` (nil: absent)
`expire(key, ttl_ms, options)` → whether the key is there; nil removes the limit
`ttl(key)` → milliseconds left, -1 without a limit, nil without the key
`scan(cursor, options)` → {"keys": [...], "cursor": next}; begin with "", end at "". options:
    `prefix`, `count`, `values`. A key that is there throughout is given exactly once
`read(key, path)` → a document's field ("author.name", "tags.0") or nil
`update(key, fields, options)` → whether the document is there; {path: value}, nil removes
`find(value, options)` → {"keys": [...], "more": bool}: documents by the one secondary index
`join(left, right, options)` → {"rows": [[key, value, other key, other value], ...], "more"}: the
    keys of `left` ({"prefix": text}, {"find": value} or {"keys": [...]}), each with the key that
    it refers to by `right` ({"on": path, "to": "user:*"}: the field's text in place of the star;
    without `on` the value itself). options: `limit`, `atomic` (one slot, or `crossslot`),
    `partial`, `shard_timeout_ms`. Rows come in the left keys' order, but which ones, where there
    are more, is not said: page with `scan`, and join its keys
`transact(operations, options)` → [result, ...]: `[name, key, ...]` of one slot, all or nothing
`asking(name, ...)`: one query that an `ask` redirect sent here, before the map says so

Across shards (at a router) nothing is atomic, and each shard has `shard_timeout_ms` to answer: if
one does not, all is `unavailable`, unless `partial` was asked for. Then, and for `join` and `find`
always, the answer is a map with `partial`, `unanswered` (shards), and `cost`: {"shards",
"requests", "keys" (read), "bytes", "slowest_shard", "slowest_ms"}; `mget` has `values` and
`missing` (keys) beside. Slots that are on their way all the time make it partial as well.

A `request_id` makes a retry safe: the same id again gives the first outcome. Refusals are
definite: `moved` (details: slot, owner, map version: refresh the map), `ask` (details: slot,
target: go there with `asking`, once), `crossslot`, `wrong_type`, `bad_request`, `too_large`,
`stale_epoch`, `not_primary` (details: the primary or nil), `unavailable`, `no_space`.
"""

from __future__ import annotations

from typing import Any, Final

from protocols.hashing.slots import has_tag

GET: Final = "get"
MGET: Final = "mget"
SET: Final = "set"
DELETE: Final = "delete"
INCR: Final = "incr"
APPEND: Final = "append"
COMPARE_AND_SET: Final = "compare_and_set"
EXPIRE: Final = "expire"
TTL: Final = "ttl"
SCAN: Final = "scan"
READ: Final = "read"
UPDATE: Final = "update"
FIND: Final = "find"
JOIN: Final = "join"
TRANSACT: Final = "transact"
ASKING: Final = "asking"

KEYED: Final = (GET, SET, DELETE, INCR, APPEND, COMPARE_AND_SET, EXPIRE, TTL, READ, UPDATE)
"""Commands whose first param is the one key they are about."""
WRITES: Final = frozenset({SET, DELETE, INCR, APPEND, COMPARE_AND_SET, EXPIRE, UPDATE, TRANSACT})

OPTIONS_AT: Final = {
    SET: 2, DELETE: 1, INCR: 2, APPEND: 2, COMPARE_AND_SET: 3, EXPIRE: 2, UPDATE: 2, TRANSACT: 1,
}  # fmt: skip
"""Of each write: the place of its options among the params."""

REQUEST_ID: Final = "request_id"
PARTIAL: Final = "partial"
SHARD_TIMEOUT: Final = "shard_timeout_ms"
ABSENT: Final = "absent"
PRESENT: Final = "present"

MAX_KEY_BYTES: Final = 1024
MAX_VALUE_BYTES: Final = 256 * 1024
MAX_KEYS: Final = 1000
"""Of one mget, one page of a scan, one transaction."""
MAX_TTL_MS: Final = 10 * 365 * 86_400_000
MAX_REQUEST_ID_CHARS: Final = 64
MAX_PATH_PARTS: Final = 16
MAX_SHARD_TIMEOUT_MS: Final = 60_000

MOVE_BEGIN: Final = "move.begin"
MOVE_PULL: Final = "move.pull"
MOVE_STREAM: Final = "move.stream"
MOVE_IMPORT: Final = "move.import"
MOVE_STATUS: Final = "move.status"
MOVE_FENCE: Final = "move.fence"
MOVE_RESUME: Final = "move.resume"
MOVE_ADOPT: Final = "move.adopt"
MOVE_RELEASE: Final = "move.release"
MOVE_DROP: Final = "move.drop"
FOUND: Final = "found"
"""What a coordinator and two shards say to each other during a move: see nodes/kv/mover.py."""


def routing_keys(command: str, params: list[Any]) -> list[Any]:
    """The keys that decide where a command goes; [] if it has none."""
    if command in KEYED:
        return params[:1]
    if command == MGET and params and isinstance(params[0], list):
        return params[0]
    if command == JOIN and params and isinstance(params[0], dict):
        left = params[0]
        prefix = left.get("prefix")
        if isinstance(prefix, str) and has_tag(prefix):
            return [prefix]
        return left["keys"] if isinstance(left.get("keys"), list) else []
    if command == TRANSACT and params and isinstance(params[0], list):
        return [each[1] for each in params[0] if isinstance(each, list) and len(each) > 1]
    return []


def with_request_id(command: str, params: list[Any], request_id: str) -> list[Any]:
    """The params of a write with that id, unless they have one; other commands as they are."""
    at = OPTIONS_AT.get(command)
    if command == INCR and (len(params) == 1 or isinstance(params[1], dict)):
        params = [params[0], 1, *params[1:]]
    if at is None or not at <= len(params) <= at + 1:
        return params
    options = params[at] if len(params) > at else {}
    if not isinstance(options, dict) or REQUEST_ID in options:
        return params
    return [*params[:at], {**options, REQUEST_ID: request_id}]
