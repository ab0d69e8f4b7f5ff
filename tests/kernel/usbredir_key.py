"""A SenseLock key plugged into the guest's own USB controller: the device side of QEMU's `usb-redir`.

To the guest's kernel the key sits in a port of an ordinary PCI controller. The protocol is usbredir 0.7
(usbredir-protocol.md and usbredirproto.h of the usbredir project); the key's descriptors come from the USB/IP server
of the lab. The key has endpoint 0 alone: no transfer but control ever comes.
"""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from lab.usbip_server import VENDOR_SPECIFIC, SenseLockKey, shut

# Packet types.
HELLO, CONNECT, INTERFACE_INFO, ENDPOINT_INFO = 0, 1, 4, 5
SET_CONFIGURATION, GET_CONFIGURATION, CONFIGURATION_STATUS = 6, 7, 8
SET_ALTERNATE, GET_ALTERNATE, ALTERNATE_STATUS = 9, 10, 11
CONTROL = 100
SUCCESS, STALL = 0, 4
FULL_SPEED = 1
NO_ENDPOINT = 255
# QEMU refuses a device on a USB 3 controller without these: sizes with the endpoints, 64-bit ids, 32-bit lengths.
CAPABILITIES = 1 << 4 | 1 << 5 | 1 << 6


class LocalKey:
    """The key in the port, as a context manager: plugged in on entry, pulled out on exit."""

    def __init__(self, port: Path, key: SenseLockKey) -> None:
        self._key = key
        self._connection = socket.socket(socket.AF_UNIX)
        try:
            self._connection.connect(str(port))
        except OSError:
            self._connection.close()
            raise
        self._thread = threading.Thread(target=self._converse, daemon=True)

    def __enter__(self) -> LocalKey:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        shut(self._connection)
        self._thread.join(timeout=5)
        self._connection.close()

    def _converse(self) -> None:
        with suppress(OSError):  # the key is pulled out, or the guest is switched off
            # Only the greeting has 32-bit ids; both sides then use the 64-bit ones they announced.
            greeting = b"key of the test".ljust(64, b"\0") + struct.pack("<I", CAPABILITIES)
            self._connection.sendall(struct.pack("<III", HELLO, len(greeting), 0) + greeting)
            _, length, _ = struct.unpack("<III", self._receive(12))
            self._receive(length)
            self._introduce()
            while True:
                kind, length, ident = struct.unpack("<IIQ", self._receive(16))
                self._answer(kind, ident, self._receive(length))

    def _introduce(self) -> None:
        """What QEMU wants to know before the device appears: one interface, its endpoints, speed and ids."""
        nothing = bytes(32)
        self._send(INTERFACE_INFO, 0, struct.pack("<I", 1) + nothing + bytes([VENDOR_SPECIFIC]) + bytes(31) + nothing + nothing)
        only_zero = bytes([0] + [NO_ENDPOINT] * 15) * 2
        sizes = struct.pack("<32H", *([8] + [0] * 15) * 2)
        self._send(ENDPOINT_INFO, 0, only_zero + nothing + nothing + sizes)
        self._send(CONNECT, 0, struct.pack("<BBBBHH", FULL_SPEED, VENDOR_SPECIFIC, 0, 0, self._key.vendor, self._key.model))

    def _answer(self, kind: int, ident: int, data: bytes) -> None:
        if kind == CONTROL:
            endpoint, request, request_type, _, value, index, length = struct.unpack("<BBBBHHH", data[:10])
            failed, content = self._key.control(struct.pack("<BBHHH", request_type, request, value, index, length))
            status = STALL if failed else SUCCESS
            header = struct.pack("<BBBBHHH", endpoint, request, request_type, status, value, index, len(content))
            self._send(CONTROL, ident, header + (content if endpoint & 0x80 else b""))
        elif kind in (SET_CONFIGURATION, GET_CONFIGURATION):
            if kind == SET_CONFIGURATION:
                self._key.configuration = data[0]
            self._send(CONFIGURATION_STATUS, ident, bytes([SUCCESS, self._key.configuration]))
        elif kind in (SET_ALTERNATE, GET_ALTERNATE):
            alternate = data[1] if kind == SET_ALTERNATE else 0
            self._send(ALTERNATE_STATUS, ident, bytes([SUCCESS, data[0], alternate]))

    def _send(self, kind: int, ident: int, data: bytes) -> None:
        self._connection.sendall(struct.pack("<IIQ", kind, len(data), ident) + data)

    def _receive(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            part = self._connection.recv(size - len(data))
            if not part:
                raise ConnectionError("the guest is gone")
            data += part
        return data
