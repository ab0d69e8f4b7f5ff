"""USB/IP: what this machine has attached, and what the servers behind it offer. Nothing opens a device.

A frozen forwarder leaves its key listed by the kernel (measured on Linux 6.1), so its server is asked.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from typing import Iterable, Sequence

from ..contract import deadline
from ..contract.verdict import CRITICAL, UNKNOWN, Problem
from ..machine import usb
from ..machine.tcp import is_late, why_of
from .ask import Facts, Request, patience
from .listing import ATTACHED, GHOST, OFFERED, Device, Finding, Listing, odd_device
from .port import at, open_connection
from .products import usbip

FROZEN = "it takes the connection and says nothing: frozen?"
NEITHER = Listing(
    absent=Finding(CRITICAL, "is neither offered by the forwarder nor attached here"),
    remedy="is the key plugged in and shared at the forwarder, or attached to another machine?",
)


def look_at_usbip(request: Request, facts: Facts) -> None:
    """What is attached here, and what is offered by the server that is named and by those behind it."""
    deadline.doing("reading the vhci status")
    ports = None if request.side == "server" else usb.vhci_ports()
    if ports is None and not request.host:
        raise no_client()
    held = attached_devices(ports or ())
    servers = servers_of(held, request, facts)
    offered: list[Device] = []
    silent = False
    for host, number in servers:
        server = f"{host}:{number}"
        try:
            offers = ask_devlist(host, number, facts)
        except Problem as problem:
            silent = True
            facts.found("answer", problem.state, f"{problem}{still_listed(held, server, problem)}")
            continue
        for device in offers:
            own = [port for port in held if is_it(device, server, port, held[port])]
            offered += [] if own else [device]
            for port in own if device.state == OFFERED else ():
                held[port] = held[port]._replace(state=offered_again(port))
    listing = NEITHER if servers and not silent else usbip.NOT_ATTACHED
    listing = usbip.NOT_OFFERED if ports is None else listing
    if ports is not None or not silent:
        facts.listing = listing._replace(devices=(*held.values(), *offered))


def attached_devices(ports: Sequence[usb.VhciPort]) -> dict[usb.VhciPort, Device]:
    """The devices on used ports of vhci_hcd."""
    obstacles, dead = usb.obstacles([port.busid for port in ports]), usb.ghosts(ports)
    devices = {}
    for port in ports:
        obstacle = obstacles.get(port.busid)
        unusable = Finding(CRITICAL, f"is attached here, but cannot be used: {obstacle}")
        state = GHOST if port in dead else unusable if obstacle else ATTACHED
        place = f"{port.busid}, vhci_hcd port {port.number}"
        device = Device("", usb.usb_id_of(port.busid), state, "", place)
        lost = f"vhci_hcd port {port.number} holds {port.busid}, which this machine's USB bus does not show"
        devices[port] = device if device.usb_id else odd_device(lost)
    return devices


def is_it(listed: Device, server: str, port: usb.VhciPort, device: Device) -> bool:
    """Whether what a server lists is the device on this port. usbipd-win shows what is in use, too."""
    if listed.state == usbip.OFFERED_OR_USED:
        return listed.usb_id == device.usb_id and port.remote in ("", listed.place)
    return (server, listed.place) == (port.server, port.remote)


def offered_again(port: usb.VhciPort) -> Finding:
    """A Linux server leaves out what is in use: one that offers this very device has lost the connection."""
    remedy = f"run usbip detach -p {port.number}, then attach it again"
    what = f"is attached here over a dead connection, {port.server} offers it again"
    return Finding(CRITICAL, f"{what}: {remedy}")


def still_listed(held: dict[usb.VhciPort, Device], server: str, problem: Problem) -> str:
    """Which devices of a silent server are listed here all the same. A port without a note may be its own."""
    own = [device for port, device in held.items() if port.server in ("", server)][:3]
    if not own or problem.state != CRITICAL:
        return ""
    ids = f"{', '.join(device.usb_id or device.name for device in own)} {'is' if len(own) == 1 else 'are'}"
    frozen = ", as a frozen forwarder leaves it" if FROZEN in str(problem) else ""
    return f"; {ids} still listed here{frozen}"


def servers_of(ports: Iterable[usb.VhciPort], request: Request, facts: Facts) -> list[tuple[str, int]]:
    """The server that is named and those that `usbip attach` noted for the used ports, each once."""
    found = {(request.host, request.port): None} if request.host else {}
    for port in ports:
        host, _, number = port.server.rpartition(":")
        if host and number.isdecimal() and 0 < int(number) < 65536:
            found[host, int(number)] = None
        elif not request.host:
            noted = "is not noted here" if os.geteuid() == 0 else "is noted for root alone"
            what = f"who serves vhci_hcd port {port.number} {noted}, so nobody was asked"
            facts.found("answer", UNKNOWN, f"{what} whether the forwarder still answers: give it with -H")
    return list(found)


def no_client() -> Problem:
    """Why there is no vhci status here."""
    if not sys.platform.startswith("linux") or os.path.exists(usb.VHCI):
        return Problem("what USB/IP has attached cannot be read here: give the server with -H")
    what = "nothing is attached here: vhci_hcd is not loaded, run modprobe vhci_hcd and usbip attach"
    return Problem(f"{what} (a server is asked with -H)", CRITICAL)


def ask_devlist(host: str, port: int, facts: Facts) -> list[Device]:
    """The devices that a USB/IP server lists."""
    started = time.monotonic()
    until = started + patience()
    with open_connection(host, port, until) as connection:
        deadline.doing(f"asking {at(host, port)} for its USB/IP devices")
        try:
            connection.sendall(usbip.DEVLIST_REQUEST)
            devices = usbip.read_devlist(lambda size: take(connection, size, until), at(host, port))
        except OSError as error:
            what = f"forwarder does not answer at {at(host, port)} ({why_of(error)})"
            raise Problem(what, CRITICAL) from None
    facts.answered(started)
    return devices


def take(connection: socket.socket, size: int, until: float) -> bytes:
    """Exactly `size` bytes before `until` (time.monotonic()), whatever their pace. Raises OSError."""
    data = b""
    while len(data) < size:
        connection.settimeout(max(0.01, until - time.monotonic()))
        try:
            piece = connection.recv(size - len(data)) if time.monotonic() < until else None
        except OSError as error:
            if not is_late(error):
                raise
            piece = None
        if piece is None:
            begun = data or size != usbip.HEADER_SIZE
            raise OSError(0, "its answer does not end in time" if begun else FROZEN)
        if not piece:
            raise OSError(0, "it closes the connection without a whole answer")
        data += piece
    return data
