"""USB/IP: what this machine has attached, and what the servers behind it offer. Nothing opens a device.
A frozen forwarder leaves its key listed by the kernel (measured on Linux 6.1), so its server is asked."""

from __future__ import annotations

import os
import socket
import time

from ..contract import deadline
from ..contract.language import _
from ..contract.verdict import Problem
from ..machine import usb
from ..machine.tcp import is_late, why_of
from .ask import Facts, open_connection, patience
from .product import ATTACHED, CRITICAL, GHOST, OFFERED, UNKNOWN, Device, Finding
from .products import usbip


def look_at_usbip(facts: Facts) -> None:
    """What is attached here, and what is offered by the server that is named and by those behind it."""
    at_server = facts.values.side == "server"
    ports = None if at_server else usb.vhci_ports()
    if ports is None and not facts.values.hostname:
        unloaded = usb.ON_LINUX and not os.path.exists(usb.VHCI) and not at_server
        what = _("nothing that is attached here can be read: "
                 "load vhci_hcd and attach, or ask a server with -H")  # fmt: skip
        raise Problem(what, CRITICAL if unloaded else UNKNOWN)
    held = attached_devices(ports or [])
    offered: list[Device] = []
    silent = False
    for host, number in servers_of(list(held), facts):
        server = f"{host}:{number}"
        try:
            offers = ask_devlist(host, number)
        except Problem as problem:
            silent = True  # a port without a note may hold a device of this server
            ids = [device.usb_id for port, device in held.items() if port.server in ("", server)]
            still = _("; still listed here: {usb_ids}", ", ".join(ids[:3])) if ids else ""
            facts.found("answer", problem.state, f"{problem}{still}")
            continue
        for device in offers:
            own = [port for port in held if is_it(device, server, port, held[port])]
            offered += [] if own else [device]
            for port in own if device.state == OFFERED else ():  # Linux leaves out what is in use
                held[port] = held[port]._replace(state=GHOST)
    if ports is not None or not silent:
        listing = usbip.NOT_OFFERED if ports is None else usbip.NOT_ATTACHED
        facts.listing = listing._replace(devices=(*held.values(), *offered))


def attached_devices(ports: list[usb.VhciPort]) -> dict[usb.VhciPort, Device]:
    """The devices on used ports of vhci_hcd."""
    obstacles, dead = usb.obstacles([port.busid for port in ports]), usb.ghosts(ports)
    devices = {}
    for port in ports:
        usb_id = usb.usb_id_of(port.busid)
        obstacle = _(obstacles.get(port.busid, ""))
        obstacle = obstacle or ("" if usb_id else _("this machine's USB bus does not show it"))
        unusable = Finding(CRITICAL, _("is attached here, but cannot be used: {why}", obstacle))
        state = GHOST if port in dead else unusable if obstacle else ATTACHED
        devices[port] = Device("", usb_id, state, "", port.busid)
    return devices


def is_it(listed: Device, server: str, port: usb.VhciPort, device: Device) -> bool:
    """Whether what a server lists is the device on this port. usbipd-win shows what is in use, too."""
    if listed.state == usbip.OFFERED_OR_USED:
        return listed.usb_id == device.usb_id and port.remote in ("", listed.place)
    if port.remote:
        return (server, listed.place) == (port.server, port.remote)
    return (listed.usb_id, listed.devid) == (device.usb_id, port.devid)  # only root may read the note


def servers_of(ports: list[usb.VhciPort], facts: Facts) -> list[tuple[str, int]]:
    """The server that is named and those that `usbip attach` noted for the used ports, each once."""
    named = facts.values.hostname
    found = [(named, facts.values.port)] if named else []
    for port in ports:
        host, colon, number = port.server.rpartition(":")
        if host and number.isdecimal() and 0 < int(number) < 65536:
            found.append((host, int(number)))
        elif not named:
            what = _("who serves {busid} is not noted here: give it with -H", port.busid)
            facts.found("answer", UNKNOWN, what)
    return list(dict.fromkeys(found))


def ask_devlist(host: str, port: int) -> list[Device]:
    """The devices that a USB/IP server lists."""
    until = time.monotonic() + patience()
    with open_connection(host, port, until) as connection:
        deadline.doing(_("asking {host}:{port} for its USB/IP devices", host, port))
        try:
            connection.sendall(usbip.DEVLIST_REQUEST)
            return usbip.read_devlist(lambda size: take(connection, size, until), f"{host}:{port}")
        except OSError as error:
            silent = _("it takes the connection and says nothing: frozen?")
            why = silent if is_late(error) else why_of(error)
            what = _("forwarder does not answer at {host}:{port} ({why})", host, port, why)
            raise Problem(what, CRITICAL) from None


def take(connection: socket.socket, size: int, until: float) -> bytes:
    """Exactly `size` bytes before `until` (time.monotonic()), whatever their pace. Raises OSError."""
    data = b""
    while len(data) < size:
        connection.settimeout(max(0.001, until - time.monotonic()))
        piece = connection.recv(size - len(data))
        if not piece:
            raise OSError(0, _("it closes the connection without a whole answer"))
        data += piece
    return data
