"""What the site keeps, whichever store has it: the seam between its functions and SQL or KV."""

from __future__ import annotations

from typing import Any, Protocol


class Records(Protocol):
    """People and posts as the pages' maps. Everything may raise RpcError.

    A post: {"id", "author", "full_name", "text", "posted_s"}; a person: {"name", "full_name",
    "about"}. `token`: the answer must include the write that gave it.
    """

    async def prepare(self, attempt: str) -> None:
        """Make room and the demo people, unless they are there. `attempt` differs each time that
        they were lost again."""
        ...

    async def home(self, token: int | None) -> dict[str, Any]:
        """{"posts": the newest of all, "people"}"""
        ...

    async def profile(self, name: str, posts: int, token: int | None) -> dict[str, Any] | None:
        """A person with "joined_s", "followers", "following" (numbers) and "posts"."""
        ...

    async def timeline(self, user: str, limit: int, token: int | None) -> dict[str, Any]:
        """{"posts": the newest of those whom `user` follows}, and what the answer cost if that is
        known."""
        ...

    async def search(
        self, text: str, limit: int, token: int | None, *, posts: bool = True
    ) -> dict[str, Any]:
        """{"posts", "people"}; without `posts` only people are looked for."""
        ...

    async def get_post(self, post: str, token: int | None) -> dict[str, Any] | None: ...

    async def count_posts(self, ids: list[str], token: int | None) -> dict[str, int]:
        """How often each is stored; those that are not may be left out."""
        ...

    async def add_post(self, author: str, text: str, post: str, posted_s: float) -> int:
        """The token of the write; the same `post` again is the same post. `not_found` if nobody is
        called `author`."""
        ...

    async def has_person(self, name: str) -> bool: ...
