"""The line between a site's proxy and the server, which can break the way lines do.

    link = Link(server_port)
    await link.start()              # the proxy's Server=127.0.0.1:{link.port}
    await link.cut()                # from here on nothing passes
    await link.restore()

A cut is of the worst kind for whoever must neither lose nor double a value: the server still gets the last
"proxy data" request and stores it, but its answer is lost. Only then the line is dead and refuses connections.
"""

from __future__ import annotations

import asyncio
import zlib

HEADER = 13
"""Bytes before the body of a Zabbix message: "ZBXD", flags, length, length (Zabbix manual, header and data length)."""
COMPRESSED = 0x02


def carries_history(beginning: bytes) -> bool:
    """Whether a request of a proxy, of which these are the first bytes, brings collected values."""
    if len(beginning) <= HEADER or not beginning.startswith(b"ZBXD"):
        return False
    body = beginning[HEADER:]
    if beginning[4] & COMPRESSED:
        try:
            body = zlib.decompressobj().decompress(body, 1000)
        except zlib.error:
            return False
    return b'"proxy data"' in body and b'"history data"' in body[:1000]


class Link:
    """A TCP relay to a port of 127.0.0.1. `answers_lost` counts requests whose answer a cut has swallowed."""

    def __init__(self, server_port: int) -> None:
        self.server_port = server_port
        self.port = 0
        self.answers_lost = 0
        self._swallowing = False
        self._swallowed = asyncio.Event()
        self._listener: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        """Listen, on a port of the kernel's choice the first time."""
        self._listener = await asyncio.start_server(self._carry, "127.0.0.1", self.port)
        self.port = self._listener.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        """Swallow the answer to the next request with values, then refuse everything."""
        self._swallowed.clear()
        self._swallowing = True
        await asyncio.wait_for(self._swallowed.wait(), 30)
        await self.stop()

    async def restore(self) -> None:
        """The line is back."""
        await self.start()

    async def stop(self) -> None:
        """Drop every connection and listen no more."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        for writer in list(self._writers):
            writer.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of the proxy."""
        upstream: asyncio.StreamWriter | None = None
        self._writers.add(writer)
        try:
            answers, upstream = await asyncio.open_connection("127.0.0.1", self.server_port)
            self._writers.add(upstream)
            beginning = bytearray()
            requests = asyncio.create_task(self._pass_requests(reader, upstream, beginning))
            try:
                await self._pass_answers(answers, writer, beginning)
            finally:
                requests.cancel()
        except OSError:
            pass  # one side went away: so does the other
        finally:
            for end in (writer, upstream):
                if end is not None:
                    self._writers.discard(end)
                    end.close()

    async def _pass_requests(self, reader: asyncio.StreamReader, upstream: asyncio.StreamWriter, beginning: bytearray) -> None:
        try:
            while chunk := await reader.read(65536):
                beginning += chunk[: max(0, 4096 - len(beginning))]
                upstream.write(chunk)
                await upstream.drain()
        except OSError:
            pass

    async def _pass_answers(self, answers: asyncio.StreamReader, writer: asyncio.StreamWriter, beginning: bytearray) -> None:
        while chunk := await answers.read(65536):
            if self._swallowing and carries_history(bytes(beginning)):
                self.answers_lost += 1
                self._swallowing = False
                self._swallowed.set()
                return
            writer.write(chunk)
            await writer.drain()
