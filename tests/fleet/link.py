"""The line between a site and the server, which can break the way lines do: `Relay`, and for a Zabbix proxy `Link`.

    link = Link(server_port)
    await link.start()              # the proxy's Server=127.0.0.1:{link.port}
    await link.cut()                # from here on nothing passes
    await link.restore()

A cut is of the worst kind for whoever must neither lose nor double a value: the server still gets the last
"proxy data" request and stores it, but its answer is lost. Only then the line is dead and refuses connections.
"""

from __future__ import annotations

import asyncio
import threading
import zlib
from collections.abc import Coroutine
from typing import Any, TypeVar

HEADER = 13
"""Bytes before the body of a Zabbix message: "ZBXD", flags, length, length (Zabbix manual, header and data length)."""
COMPRESSED = 0x02

T = TypeVar("T")


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


class LoopThread:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Run something there and return what it returns."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(60)

    def close(self) -> None:
        """End the loop, after cancelled work has unwound."""
        self.do(asyncio.sleep(0.1))
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()


class Relay:
    """A TCP relay to a port of 127.0.0.1. While `dead`, connections stand and whatever is sent into them is lost.
    `carried` counts the bytes that passed, in both directions."""

    def __init__(self, server_port: int) -> None:
        self.server_port = server_port
        self.port = 0
        self.dead = False
        self.carried = 0
        self._listener: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        """Listen, on a port of the kernel's choice the first time."""
        self.dead = False
        self._listener = await asyncio.start_server(self._carry, "127.0.0.1", self.port)
        self.port = self._listener.sockets[0].getsockname()[1]

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

    async def cut(self) -> None:
        """The line breaks: connections are reset, new ones refused."""
        await self.stop()

    async def die(self) -> None:
        """The line breaks as a NAT gateway without power does: nobody is told, and what is sent is lost."""
        self.dead = True

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        upstream: asyncio.StreamWriter | None = None
        self._writers.add(writer)
        try:
            answers, upstream = await asyncio.open_connection("127.0.0.1", self.server_port)
            self._writers.add(upstream)
            await self._serve(reader, upstream, answers, writer)
        except OSError:
            pass  # one side went away: so does the other
        finally:
            for end in (writer, upstream):
                if end is not None:
                    self._writers.discard(end)
                    end.close()

    async def _serve(
        self, reader: asyncio.StreamReader, upstream: asyncio.StreamWriter, answers: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        ways = [asyncio.create_task(self._pass(reader, upstream)), asyncio.create_task(self._pass(answers, writer))]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()

    async def _pass(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while chunk := await source.read(65536):
                if not self.dead:
                    self.carried += len(chunk)
                    sink.write(chunk)
                    await sink.drain()
        except OSError:
            pass


class Link(Relay):
    """The line of a Zabbix proxy. `answers_lost` counts requests whose answer a cut has swallowed."""

    def __init__(self, server_port: int) -> None:
        super().__init__(server_port)
        self.answers_lost = 0
        self._swallowing = False
        self._swallowed = asyncio.Event()

    async def cut(self) -> None:
        """Swallow the answer to the next request with values, then refuse everything."""
        self._swallowed.clear()
        self._swallowing = True
        await asyncio.wait_for(self._swallowed.wait(), 30)
        await self.stop()

    async def _serve(
        self, reader: asyncio.StreamReader, upstream: asyncio.StreamWriter, answers: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        beginning = bytearray()
        requests = asyncio.create_task(self._pass_requests(reader, upstream, beginning))
        try:
            await self._pass_answers(answers, writer, beginning)
        finally:
            requests.cancel()

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
