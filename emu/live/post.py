"""Posting to an HTTP address outside of the cluster, on this computer's own network."""

from __future__ import annotations

import trio

from protocols.http.client import ClientConnection
from protocols.http.message import RemoteProtocolError

TIMEOUT_S = 5.0
MAX_ANSWER_BYTES = 64 << 10
READ_BYTES = 16 << 10


async def post_json(host: str, port: int, target: str, body: bytes) -> int:
    """The status of the answer. Raises OSError, which says why there is none."""
    connection = ClientConnection(max_body_bytes=MAX_ANSWER_BYTES)
    name = f"[{host}]" if ":" in host else host
    headers = (
        ("host", f"{name}:{port}"),
        ("content-type", "application/json"),
        ("user-agent", "emu"),
        ("connection", "close"),
    )
    data = connection.send_request("POST", target, headers, body)
    try:
        with trio.fail_after(TIMEOUT_S):
            async with await trio.open_tcp_stream(host, port) as stream:
                await stream.send_all(data)
                while True:
                    answer = connection.receive_head(await stream.receive_some(READ_BYTES))
                    if answer is not None:
                        return answer.status
    except trio.TooSlowError:
        raise OSError(f"nothing within {TIMEOUT_S:g} s") from None
    except (trio.BrokenResourceError, RemoteProtocolError, UnicodeError) as error:
        raise OSError(str(error) or "the connection broke") from error
