"""What the site has others do later: a photo is made smaller, followers hear of a post. It is
published to the queue before the site says that it has the photo, or the post."""

from __future__ import annotations

from typing import Any, Final

from nodes.base import Context
from nodes.parts.lives import life_name
from nodes.parts.png import SIGNATURE
from nodes.queue.client import QueueClient
from nodes.site.photos import GIVEN_UP, WORKED_ON, Photos, record_name
from protocols.errors import RpcError

PHOTOS: Final = "photos"
POSTS: Final = "posts"
TOPICS: Final = (PHOTOS, POSTS)
GROUP: Final = "workers"
"""The work group that is there from a topic's first record on."""
DEFAULTS: Final[dict[str, Any]] = {
    "partitions": 4, "groups": [GROUP], "ack_wait_s": 10.0, "max_deliver": 5,
}  # fmt: skip
"""Of a topic that the file does not have."""
MAX_PHOTO_BYTES: Final = 192 << 10
PUBLISH_S: Final = 3.0


class Errands:
    """The site's, where it uses a queue and a database."""

    def __init__(self, ctx: Context, queue: QueueClient, photos: Photos) -> None:
        self.photos = photos
        self._queue = queue
        self._life = life_name(ctx)
        self._attempts = 0

    async def prepare(self, attempt: str) -> None:
        """Make tables and topics, unless they are there."""
        await self.photos.prepare(attempt)
        await self._queue.look()
        for topic in TOPICS:
            if topic not in self._queue.topics:
                options = {**DEFAULTS, "dead_letters": f"{topic}.dead"}
                await self._queue.declare(topic, options)

    async def take_photo(self, owner: str, photo: str, data: bytes) -> dict[str, Any]:
        """Store it, and have it made smaller. Raises RpcError: `full` where workers are behind."""
        if not isinstance(data, bytes) or not data.startswith(SIGNATURE):
            raise RpcError("bad_request", "a photo is a PNG")
        if len(data) > MAX_PHOTO_BYTES:
            most = f"{MAX_PHOTO_BYTES >> 10} KiB"
            raise RpcError("too_large", f"a photo has at most {most}; this one {len(data)} bytes")
        self._attempts += 1
        claim = f"{self._life}/{self._attempts}"
        token, new = await self.photos.add(owner, photo, data, claim)
        try:
            place = await self._publish(PHOTOS, owner, {"photo": photo})
        except RpcError as error:
            if error.definite and new and await self._drop(photo, claim):
                raise  # nobody was told of it
            raise _half(error, "the photo") from error
        return {"id": photo, "owner": owner, "token": token, "queued": place}

    async def photo(self, photo: str, token: int | None) -> dict[str, Any] | None:
        """See Photos.one; what is not done may have been given up, as far as the queue says."""
        found = await self.photos.one(photo, token)
        if found is not None and found["state"] == WORKED_ON:
            latest = found["attempts"][-1]["record"]
            try:
                if latest in await self._given_up():
                    found["state"] = GIVEN_UP
            except RpcError:
                pass  # nobody knows just now
        return found

    async def _given_up(self) -> list[str]:
        """The records of photos that are dead letters, or parked. Raises RpcError."""
        groups = self._queue.topics[PHOTOS]["groups"] or [GROUP]
        return [
            record_name(PHOTOS, partition, offset)
            for group in groups
            for partition, *_, given_up in await self._queue.standing(PHOTOS, group)
            for offset in given_up
        ]

    async def _drop(self, photo: str, claim: str) -> bool:
        """Whether it is known to be gone."""
        try:
            await self.photos.drop(photo, claim)
        except RpcError:
            return False
        return True

    async def tell_followers(self, author: str, post: str) -> None:
        """Of a post that is stored. Raises RpcError."""
        try:
            await self._publish(POSTS, author, {"post": post})
        except RpcError as error:
            raise _half(error, "the post") from error

    async def _publish(self, topic: str, key: str, value: dict[str, Any]) -> str:
        place = await self._queue.publish(topic, value, key=key, timeout_s=PUBLISH_S)
        return record_name(topic, place.partition, place.offset)


def _half(error: RpcError, what: str) -> RpcError:
    return RpcError("unknown_outcome", f"{what} is stored, but its job may not be queued: {error}")
