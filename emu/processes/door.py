"""Letting processes in that emu did not start: before anything else each end proves to the other
that it knows the run's token, which itself never travels. What is said after that is sealed.

Frames of at most MAX_FRAME_BYTES: a length of four bytes, then a MessagePack map. Who cannot prove
it, is silent, or says what is none of these, learns why in one frame, and is closed.
"""

from __future__ import annotations

import hmac
import secrets
from typing import Any, Final

import msgpack
import trio

from emu.processes.control import Seal

PROTOCOL: Final = 1
MAX_FRAME_BYTES: Final = 4096
NONCE_BYTES: Final = 32
PATIENCE_S: Final = 5.0
"""For all of it."""
LEAST_TOKEN: Final = 16
ANOTHER_SPEECH: Final = "this is emu's address for `emu node NAME --join`, and nothing else"
NO_TOKEN: Final = "the token is not this run's: `emu up --join-at` keeps it in its state folder"


class DoorError(Exception):
    """Nobody was let in; the message says why."""


async def send(stream: trio.abc.SendStream, **said: Any) -> None:
    """Send one frame."""
    data = msgpack.packb(said)
    assert len(data) <= MAX_FRAME_BYTES, len(data)
    await stream.send_all(len(data).to_bytes(4, "big") + data)


async def receive(stream: trio.abc.ReceiveStream) -> dict[str, Any]:
    """The next frame. Raises DoorError for all that is none."""
    length = int.from_bytes(await _exactly(stream, 4), "big")
    if not 0 < length <= MAX_FRAME_BYTES:
        raise DoorError(ANOTHER_SPEECH)
    try:
        found = msgpack.unpackb(await _exactly(stream, length), strict_map_key=True)
    except (ValueError, msgpack.UnpackException) as error:
        raise DoorError(ANOTHER_SPEECH) from error
    if not isinstance(found, dict):
        raise DoorError(ANOTHER_SPEECH)
    return found


def _not_refused(said: dict[str, Any]) -> dict[str, Any]:
    why = said.get("refused")
    if isinstance(why, str):
        raise DoorError(why[:MAX_FRAME_BYTES])
    return said


async def _exactly(stream: trio.abc.ReceiveStream, count: int) -> bytes:
    """Not one byte more: what follows may be another's to read."""
    found = b""
    while len(found) < count:
        try:
            data = await stream.receive_some(count - len(found))
        except trio.BrokenResourceError:
            data = b""
        if not data:
            raise DoorError("the other end closed the connection")
        found += data
    return found


def _proof(token: str, who: str, *nonces: bytes) -> bytes:
    return hmac.digest(token.encode(), b"/".join((who.encode(), *nonces)), "sha256")


def _nonce(said: dict[str, Any]) -> bytes:
    nonce = said.get("nonce")
    if not isinstance(nonce, bytes) or len(nonce) != NONCE_BYTES:
        raise DoorError(ANOTHER_SPEECH)
    return nonce


async def let_in(stream: trio.abc.Stream, token: str) -> tuple[dict[str, Any], Seal]:
    """emu's end: what whoever knows the token says of itself; answer it by `send`. Raises
    DoorError, after it has told the other end."""
    try:
        with trio.fail_after(PATIENCE_S):
            said = await receive(stream)
            if said.get("emu") != PROTOCOL:
                raise DoorError(ANOTHER_SPEECH)
            theirs, ours = _nonce(said), secrets.token_bytes(NONCE_BYTES)
            await send(stream, nonce=ours, proof=_proof(token, "emu", theirs, ours))
            said = await receive(stream)
            proof = said.pop("proof", None)
            wanted = _proof(token, "node", theirs, ours)
            if not (isinstance(proof, bytes) and hmac.compare_digest(proof, wanted)):
                raise DoorError(NO_TOKEN)
    except trio.TooSlowError:
        await refuse(stream, f"nothing was said for {PATIENCE_S:g} s")
        raise DoorError("it was silent") from None
    except DoorError as error:
        await refuse(stream, str(error))
        raise
    return said, Seal(_proof(token, "seal", theirs, ours), emus=True)


async def refuse(stream: trio.abc.Stream, why: str) -> None:
    """Say why, if it can be said in a moment, and close."""
    with trio.move_on_after(1.0):
        try:
            await send(stream, refused=why[: MAX_FRAME_BYTES // 4])
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
    await stream.aclose()


async def knock(stream: trio.abc.Stream, token: str, **about: Any) -> tuple[dict[str, Any], Seal]:
    """The other end: what emu answers to what we say `about` us. Raises DoorError, also where who
    answers is not the emu of that token; the stream is closed then."""
    ours = secrets.token_bytes(NONCE_BYTES)
    try:
        with trio.fail_after(2 * PATIENCE_S):
            await send(stream, emu=PROTOCOL, nonce=ours)
            said = _not_refused(await receive(stream))
            theirs = _nonce(said)
            proof, wanted = said.get("proof"), _proof(token, "emu", ours, theirs)
            if not (isinstance(proof, bytes) and hmac.compare_digest(proof, wanted)):
                raise DoorError("who answers there does not know the token: is it another run's?")
            await send(stream, **about, proof=_proof(token, "node", ours, theirs))
            answer = _not_refused(await receive(stream))
            return answer, Seal(_proof(token, "seal", ours, theirs), emus=False)
    except (DoorError, trio.TooSlowError, trio.BrokenResourceError) as error:
        await trio.aclose_forcefully(stream)
        why = {
            trio.TooSlowError: "nobody answers there",
            trio.BrokenResourceError: "the other end closed the connection",
        }
        raise DoorError(why.get(type(error), str(error))) from None
