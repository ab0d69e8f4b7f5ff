"""A TCP server that answers in its own way: bytes as they are, or whatever a function does with the connection."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lab.faults import Connection, Port, PortState

Answer = bytes | Callable[[Connection, bytes], None]


@contextmanager
def server_that(answer: Answer) -> Iterator[int]:
    """The port of a server on loopback that reads a request, answers with these bytes and hangs up; or calls
    `answer(connection, request)`."""

    def serve(connection: Connection) -> None:
        request = connection.socket.recv(65536)
        if callable(answer):
            answer(connection, request)
        else:
            connection.send(answer)

    port = Port(serve)
    port.become(PortState.OPEN)
    try:
        yield port.number
    finally:
        port.shut()


def page(body: bytes, *headers: str) -> bytes:
    """An answer of a Kodeks server with a page that ends with its connection."""
    return "\r\n".join(["HTTP/1.1 200 OK", "Server: WWW-Kodeks/6.4", *headers, "", ""]).encode() + body
