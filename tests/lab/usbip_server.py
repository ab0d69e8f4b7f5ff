#!/usr/bin/env python3
"""A USB/IP server in user space that exports SenseLock keys, for tests of the forwarded half of the chain.

It speaks the wire format of the Linux kernel document Documentation/usb/usbip_protocol.rst (version 1.1.1), so the
real `usbip list -r`, the real `usbip attach` and the kernel's vhci_hcd take it for a usbipd with a key plugged in. It
can also fail the way a forwarder fails: its licence runs out, its connections break, it freezes, it answers nonsense.

The standard library is enough and the file imports nothing beside it, so it can be copied alone into a small virtual
machine and run there:

    python3 usbip_server.py --port 3240 --key 0471:485d --key 1bc0:0051:9700000000001234:1-7:Elite5

It prints `LISTENING HOST PORT` once it accepts connections. Signals, each answered by one line on standard output when
it has taken effect: SIGUSR1 the licence expires (EXPIRED), SIGUSR2 it is renewed (RENEWED), SIGHUP the connections
break (DROPPED), SIGWINCH the server loses its clients (LOST), SIGTERM and SIGINT end the server. SIGSTOP is the frozen
forwarder.

What is invented: the key's strings, release number and power draw. What is not: its ids and its shape (class ff/00/00,
one interface, full speed: a public transcript of an Elite IV).
"""

from __future__ import annotations

import argparse
import errno
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from types import TracebackType

PROTOCOL_VERSION = 0x0111
REQUEST_DEVLIST, REPLY_DEVLIST = 0x8005, 0x0005
REQUEST_IMPORT, REPLY_IMPORT = 0x8003, 0x0003
SUBMIT, UNLINK, SUBMITTED, UNLINKED = 1, 2, 3, 4
# Statuses of an import reply (tools/usb/usbip/libsrc/usbip_common.h).
STATUS_OK, STATUS_NOT_AVAILABLE, STATUS_BUSY, STATUS_NO_DEVICE = 0, 1, 2, 4

FULL_SPEED = 2  # enum usb_device_speed of the kernel
VENDOR_SPECIFIC = 0xFF
STRING_MANUFACTURER, STRING_PRODUCT, STRING_SERIAL = 1, 2, 3
ENGLISH = b"\x04\x03\x09\x04"  # string descriptor zero: the list of languages


class SenseLockKey:
    """One key as its USB descriptors show it.

    `usb_id` is `VID:PID` in hexadecimal, `serial` its string serial number (None: the key has none), `busid` its
    place on the exporting machine such as `1-2`, `product` its product string. ValueError for an id or a busid that
    has another form and for a string too long for a descriptor.
    """

    def __init__(
        self,
        usb_id: str = "0471:485d",
        serial: str | None = None,
        busid: str = "1-2",
        product: str = "Senselock SenseIV",
        devnum: int = 4,
    ) -> None:
        vendor, _, model = usb_id.partition(":")
        self.vendor, self.model = int(vendor, 16), int(model, 16)
        self.serial, self.busid, self.product, self.devnum = serial, busid, product, devnum
        self.busnum = int(busid.partition("-")[0])
        self.configuration = 1
        self.strings = {STRING_MANUFACTURER: "Senselock", STRING_PRODUCT: product}
        if serial is not None:
            self.strings[STRING_SERIAL] = serial
        for text in self.strings.values():
            string_descriptor(text)

    @classmethod
    def parse(cls, text: str, index: int = 0) -> SenseLockKey:
        """Read `VID:PID[:SERIAL[:BUSID[:PRODUCT]]]`; empty fields take their default, PRODUCT may hold colons."""
        fields = text.split(":", 4) + [""] * 5
        return cls(
            usb_id=f"{fields[0]}:{fields[1]}",
            serial=fields[2] or None,
            busid=fields[3] or f"1-{index + 2}",
            product=fields[4] or "Senselock SenseIV",
            devnum=index + 4,
        )

    @property
    def device_descriptor(self) -> bytes:
        """The 18 bytes of a USB 1.1 device descriptor (USB 2.0 specification, table 9-8)."""
        return struct.pack(
            "<BBHBBBBHHHBBBB",
            *(18, 1, 0x0110, VENDOR_SPECIFIC, 0, 0, 8, self.vendor, self.model, 0x0100),
            *(STRING_MANUFACTURER, STRING_PRODUCT, STRING_SERIAL if self.serial is not None else 0, 1),
        )

    @property
    def configuration_descriptor(self) -> bytes:
        """One configuration with one vendor-specific interface without endpoints."""
        interface = struct.pack("<BBBBBBBBB", 9, 4, 0, 0, 0, VENDOR_SPECIFIC, 0, 0, 0)
        return struct.pack("<BBHBBBBB", 9, 2, 9 + len(interface), 1, 1, 0, 0x80, 50) + interface

    @property
    def record(self) -> bytes:
        """The 0x138 bytes that describe the device in a reply of the USB/IP server."""
        path = f"/sys/devices/pci0000:00/0000:00:14.0/usb{self.busnum}/{self.busid}"
        return struct.pack(
            ">256s32sIIIHHHBBBBBB",
            *(path.encode(), self.busid.encode(), self.busnum, self.devnum, FULL_SPEED),
            *(self.vendor, self.model, 0x0100, VENDOR_SPECIFIC, 0, 0, self.configuration, 1, 1),
        )

    @property
    def interface_record(self) -> bytes:
        """The 4 bytes of the interface that follow `record` in a device list."""
        return bytes([VENDOR_SPECIFIC, 0, 0, 0])

    def control(self, setup: bytes) -> tuple[int, bytes]:
        """Answer an 8-byte setup packet on endpoint 0 as (0, data) or, where a device would stall, (-EPIPE, b"")."""
        request_type, request, value, _index, length = struct.unpack("<BBHHH", setup)
        if (request_type, request) == (0x80, 6):  # GET_DESCRIPTOR
            descriptor = self._descriptor(value >> 8, value & 0xFF)
            return (-errno.EPIPE, b"") if descriptor is None else (0, descriptor[:length])
        if (request_type, request) == (0x00, 9):  # SET_CONFIGURATION
            self.configuration = value & 0xFF
            return 0, b""
        answers = {
            (0x80, 0): b"\0\0",  # GET_STATUS
            (0x80, 8): bytes([self.configuration]),  # GET_CONFIGURATION
            (0x81, 10): b"\0",  # GET_INTERFACE
            (0x01, 11): b"",  # SET_INTERFACE
            (0x00, 1): b"",  # CLEAR_FEATURE on the device
            (0x00, 3): b"",  # SET_FEATURE on the device
            (0x02, 1): b"",  # CLEAR_FEATURE on an endpoint
        }
        answer = answers.get((request_type, request))
        return (-errno.EPIPE, b"") if answer is None else (0, answer[:length])

    def _descriptor(self, kind: int, index: int) -> bytes | None:
        if kind == 1:
            return self.device_descriptor
        if kind == 2 and index == 0:
            return self.configuration_descriptor
        if kind == 3 and index == 0:
            return ENGLISH
        if kind == 3 and index in self.strings:
            return string_descriptor(self.strings[index])
        return None


def string_descriptor(text: str) -> bytes:
    """A USB string descriptor: length, type 3, UTF-16. ValueError when the text does not fit into 255 bytes."""
    body = text.encode("utf-16-le")
    if len(body) > 253:
        raise ValueError(f"a USB string descriptor holds at most 126 characters, not {len(text)}")
    return bytes([len(body) + 2, 3]) + body


class UsbIpServer:
    """The server inside the test's own process.

    Use it as a context manager; `host` and `port` say where it listens (port 0 lets the kernel choose). `requests`
    records what was asked, such as `devlist` or `import 1-2`, so a test can prove that a check only looked.
    `raw_reply` replaces the answer to a device list request byte for byte (a server that lies or talks another
    protocol) and `trickle` is the pause in seconds after every byte of that answer (a server that dribbles).
    """

    def __init__(
        self,
        keys: Sequence[SenseLockKey] | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        raw_reply: bytes | None = None,
        trickle: float = 0.0,
    ) -> None:
        self.keys = [SenseLockKey()] if keys is None else list(keys)
        if len({key.busid for key in self.keys}) != len(self.keys):
            raise ValueError("two keys on one busid")
        self.raw_reply, self.trickle = raw_reply, trickle
        self.requests: list[str] = []
        self._expired = False
        self._thawed = threading.Event()
        self._thawed.set()
        self._lock = threading.Lock()
        self._in_use: set[str] = set()
        self._connections: set[socket.socket] = set()
        self._lost: set[socket.socket] = set()
        self._closed = False
        self._listener = socket.create_server((host, port))
        self.host: str
        self.port: int
        self.host, self.port = self._listener.getsockname()[:2]
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    def __enter__(self) -> UsbIpServer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    # ---- what happens to a forwarder

    def expire(self) -> None:
        """The forwarder's licence runs out: attached keys are dropped, nothing is exported, an import is refused."""
        self._expired = True
        self.drop()

    def renew(self) -> None:
        """The licence is valid again: the keys are exported as before."""
        self._expired = False

    def drop(self) -> None:
        """Every connection breaks; the server itself stays and still offers its keys."""
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            shut(connection)

    def lose(self) -> None:
        """The network is cut and comes back: the server has given up its clients, and no client has noticed.

        It offers again what a client's port still holds, and answers nothing more on the old connections.
        """
        with self._lock:
            self._lost |= self._connections
            self._in_use.clear()

    def freeze(self) -> None:
        """The process hangs: connections are taken and kept, and no byte is answered."""
        self._thawed.clear()

    def thaw(self) -> None:
        """It goes on where it stopped, waiting requests included."""
        self._thawed.set()

    def occupy(self, busid: str) -> None:
        """Another client imports the key: it leaves the device list and an import of it is refused as busy."""
        with self._lock:
            self._in_use.add(busid)

    def release(self, busid: str) -> None:
        """The other client returns the key."""
        with self._lock:
            self._in_use.discard(busid)

    def close(self) -> None:
        """End the server and its connections; called by the context manager."""
        self._closed = True
        shut(self._listener)  # wakes the accept() that another thread is in; close() alone does not
        self._listener.close()
        self._thawed.set()
        self.drop()
        self._acceptor.join(timeout=5)

    # ---- the wire

    def _accept(self) -> None:
        while not self._closed:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._connections.add(connection)
            threading.Thread(target=self._converse, args=(connection,), daemon=True).start()

    def _converse(self, connection: socket.socket) -> None:
        try:
            _version, operation, _status = struct.unpack(">HHI", self._receive(connection, 8))
            if operation == REQUEST_DEVLIST:
                self.requests.append("devlist")
                self._answer_devlist(connection)
            elif operation == REQUEST_IMPORT:
                busid = self._receive(connection, 32).rstrip(b"\0").decode("ascii", "replace")
                self.requests.append(f"import {busid}")
                self._answer_import(connection, busid)
            else:
                self.requests.append(f"operation {operation:04x}")
        except OSError:
            pass  # the client left, or drop() broke the connection: both are part of the play
        finally:
            with self._lock:
                self._connections.discard(connection)
            connection.close()

    def _answer_devlist(self, connection: socket.socket) -> None:
        reply = self.devlist_reply() if self.raw_reply is None else self.raw_reply
        step = 1 if self.trickle else max(len(reply), 1)
        for start in range(0, len(reply), step):
            connection.sendall(reply[start : start + step])
            time.sleep(self.trickle)

    def devlist_reply(self) -> bytes:
        """The honest answer to a device list request at this moment: keys that are exported and not in use."""
        with self._lock:
            free = [] if self._expired else [key for key in self.keys if key.busid not in self._in_use]
        header = struct.pack(">HHII", PROTOCOL_VERSION, REPLY_DEVLIST, STATUS_OK, len(free))
        return header + b"".join(key.record + key.interface_record for key in free)

    def _answer_import(self, connection: socket.socket, busid: str) -> None:
        key = next((key for key in self.keys if key.busid == busid), None)
        with self._lock:
            if key is None:
                status = STATUS_NO_DEVICE
            elif self._expired:
                status = STATUS_NOT_AVAILABLE
            elif busid in self._in_use:
                status = STATUS_BUSY
            else:
                status = STATUS_OK
                self._in_use.add(busid)
        header = struct.pack(">HHI", PROTOCOL_VERSION, REPLY_IMPORT, status)
        if key is None or status != STATUS_OK:
            connection.sendall(header)
            return
        try:
            connection.sendall(header + key.record)
            self._serve_urbs(connection, key)
        finally:
            if connection not in self._lost:
                self.release(busid)

    def _serve_urbs(self, connection: socket.socket, key: SenseLockKey) -> None:
        """Carry the key's traffic until the connection ends. Only endpoint 0 exists; the rest waits until unlinked."""
        waiting: set[int] = set()
        while True:
            packet = self._receive(connection, 48)
            while connection in self._lost:
                self._receive(connection, 1)
            command, sequence, _device, direction, endpoint = struct.unpack(">IIIII", packet[:20])
            if command == SUBMIT:
                length = struct.unpack(">I", packet[24:28])[0]
                if direction == 0:
                    self._receive(connection, length)
                if endpoint != 0:
                    waiting.add(sequence)
                    continue
                status, data = key.control(packet[40:48])
                moved = 0 if status else len(data) if direction else length
                reply = struct.pack(">IIIIIiIIII8x", SUBMITTED, sequence, 0, 0, 0, status, moved, 0, 0, 0)
                connection.sendall(reply + (data if direction and not status else b""))
            elif command == UNLINK:
                victim = struct.unpack(">I", packet[20:24])[0]
                status = -errno.ECONNRESET if victim in waiting else 0
                waiting.discard(victim)
                connection.sendall(struct.pack(">IIIIIi24x", UNLINKED, sequence, 0, 0, 0, status))
            else:
                raise ConnectionError(f"unknown USB/IP command {command}")

    def _receive(self, connection: socket.socket, size: int) -> bytes:
        data = b""
        while len(data) < size:
            part = connection.recv(size - len(data))
            if not part:
                raise ConnectionError("the client closed the connection")
            data += part
        self._thawed.wait()
        return data


def shut(connection: socket.socket) -> None:
    """Shut a socket down in both directions, also when the other end did so first."""
    with suppress(OSError):  # not connected any more
        connection.shutdown(socket.SHUT_RDWR)


class UsbIpServerProcess:
    """The same server as a process of its own, where `freeze` is a real SIGSTOP: the forwarder no longer runs at all.

    Use it as a context manager. The signals are answered before the methods return, so a test needs no sleep.
    """

    def __init__(self, *keys: str, port: int = 0) -> None:
        command = [sys.executable, __file__, "--port", str(port)]
        for key in keys or ("0471:485d",):
            command += ["--key", key]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        self.pid = self._process.pid
        word, host, number = (self._line().split() + ["", "", ""])[:3]
        if word != "LISTENING":
            self._process.kill()
            self._process.wait()
            raise RuntimeError("the USB/IP server did not start")
        self.host, self.port = host, int(number)

    def __enter__(self) -> UsbIpServerProcess:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._process.kill()  # SIGKILL ends a stopped process too
        self._process.communicate()

    def expire(self) -> None:
        """See UsbIpServer.expire."""
        self._signal(signal.SIGUSR1, "EXPIRED")

    def renew(self) -> None:
        """See UsbIpServer.renew."""
        self._signal(signal.SIGUSR2, "RENEWED")

    def drop(self) -> None:
        """See UsbIpServer.drop."""
        self._signal(signal.SIGHUP, "DROPPED")

    def lose(self) -> None:
        """See UsbIpServer.lose."""
        self._signal(signal.SIGWINCH, "LOST")

    def freeze(self) -> None:
        """Stop the process. The kernel still completes the handshake of new connections."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let the process run again."""
        self._process.send_signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals, answer: str) -> None:
        self._process.send_signal(number)
        line = self._line()
        if line != answer:
            raise RuntimeError(f"the USB/IP server answered {line!r} to {number.name}, not {answer}")

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


@contextmanager
def blocked(signals: set[signal.Signals]) -> Iterator[None]:
    """Keep signals pending for sigwait() in this thread and in every thread started inside the block."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the server until SIGTERM or SIGINT; see the module's text for the signals."""
    options = argparse.ArgumentParser(description="Export SenseLock keys over USB/IP, for tests.")
    options.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    options.add_argument("--port", type=int, default=3240, help="port, 0 = free one (default: %(default)s)")
    options.add_argument("--key", action="append", metavar="VID:PID[:SERIAL[:BUSID[:PRODUCT]]]", help="repeatable")
    chosen = options.parse_args(arguments)
    keys = [SenseLockKey.parse(text, index) for index, text in enumerate(chosen.key or ["0471:485d"])]

    handled = {signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP, signal.SIGWINCH, signal.SIGTERM, signal.SIGINT}
    with blocked(handled), UsbIpServer(keys, host=chosen.host, port=chosen.port) as server:
        print("LISTENING", server.host, server.port, flush=True)
        steps = {
            signal.SIGUSR1: (server.expire, "EXPIRED"),
            signal.SIGUSR2: (server.renew, "RENEWED"),
            signal.SIGHUP: (server.drop, "DROPPED"),
            signal.SIGWINCH: (server.lose, "LOST"),
        }
        while True:
            received = signal.Signals(signal.sigwait(handled))
            if received not in steps:
                return 0
            step, answer = steps[received]
            step()
            print(answer, flush=True)


if __name__ == "__main__":
    sys.exit(main())
