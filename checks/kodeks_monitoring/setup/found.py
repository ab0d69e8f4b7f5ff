"""What of the chain is on this machine: keys, forwarders, Kodeks, license manager, and the engines' agents.

No USB device is opened. One request goes to the ports of Kodeks' own processes; only list commands of
forwarders that left a trace here are run. Kodeks is known by processes and folders of field captures, its
license manager by the manual's port 8888. linkml.ini, which names it, has no public form: it is not read.
"""

from __future__ import annotations

import argparse
import glob
import os
import re
import shlex
import shutil
import subprocess
import threading
from typing import Collection, Iterator, NamedTuple

from ..contract.language import _
from ..contract.private_files import LARGEST_INI, parse_ini, read_private
from ..contract.verdict import Problem
from ..forwarders import ask
from ..forwarders import product as forwarder
from ..kodeks.page import LICENSE_PAGE, PageText
from ..kodeks.server import Server, Unreachable
from ..kodeks.texts import worst_of
from ..machine import usb

CHANGE = "CHANGE"  # an unanswered place: no check takes it for a good value
KEY, FORWARDER, KODEKS = "check_senselock", "check_usb_redirector", "check_kodeks_xml"
MANAGER = "license_manager"
KODEKS_NAME = r"(?i)(?:b-)?kodwebd(?:\.exe)?"
KODEKS_FOLDER = r"(?i).*[\\/](?:kodeks|techexpert)\b.*"
MANAGER_PORT = 8888


class Found(NamedTuple):
    """A thing that is here: the section of the ini that watches it, its name and what it is known by (in no
    language), a sentence, the options, and how sure it is that this one is to be watched."""
    section: str
    name: str
    signs: str
    sentence: str
    options: dict[str, str]
    rank: int = 1


def look() -> Iterator[Found]:
    """All that is here, in the order of the chain."""
    import psutil

    places: dict[int | None, set[tuple[str, int]]] = {}
    asks: dict[int | None, set[str]] = {}  # which license managers a process asks
    for item in psutil.net_connections("tcp"):
        if item.status == psutil.CONN_LISTEN and item.laddr:
            host = "127.0.0.1" if item.laddr.ip in ("0.0.0.0", "::") else item.laddr.ip
            places.setdefault(item.pid, set()).add((host, item.laddr.port))
        if item.raddr and item.raddr.port == MANAGER_PORT:
            asks.setdefault(item.pid, set()).add(item.raddr.ip)
    keys = list(look_for_keys())
    yield from keys
    living = [process.info for process in psutil.process_iter(["pid", "name", "username", "exe", "status"])
              if process.info["name"] and process.info["status"] != psutil.STATUS_ZOMBIE]  # fmt: skip
    services = [service.name() for service in getattr(psutil, "win_service_iter", list)()]
    names = {"process": [known["name"] for known in living], "service": services}
    looked = [look_for_forwarder(name, names, keys) for name in forwarder.product_names()]
    yield from sorted((item for found in looked for item in found), key=lambda item: -item.rank)
    own = [known for known in living if is_kodeks(known)]
    for host in sorted({host for known in own for host in asks.get(known["pid"], ())}):
        sentence = _("License manager at {host}: Kodeks is connected to its port {port}", host, MANAGER_PORT)
        yield Found(MANAGER, host, "", sentence, {"hostname": host, "port": str(MANAGER_PORT)})
    servers = [item for known in own for item in look_for_kodeks(known, places.get(known["pid"], ()))]
    yield from [item for item in servers if item.rank] or servers[:1]


def look_for_keys() -> Iterator[Found]:
    """The keys that the Linux kernel lists. Windows has no such list."""
    ports = usb.vhci_ports() or ()
    for name in usb.device_names():
        usb_id = usb.usb_id_of(name)
        if usb_id in usb.KEYS:
            where = usb.location_of(name, ports)
            sentence = _("Key {usb_id} at {name}, {where}", usb_id, name, where)
            location = {"location": where.kind} if where.kind != "unknown" else {}
            by = re.split(r" \(|, ", where.by)[0]  # the forwarder's title, the same in every language
            yield Found(KEY, name, f"{usb_id} {where.kind} {by}".strip(), sentence, location)


def traces_of(
    product: forwarder.Product, names: dict[str, list[str]]
) -> tuple[dict[str, str], dict[str, list[str]]]:
    """The signs of a product with the side that each one proves, and its list commands by side. `names` are
    the processes and services that run here."""
    usual = {source: side for (side, system), source in product.sources.items() if system == os.name}
    signs: dict[str, str] = {}
    commands: dict[str, list[str]] = {}
    for trace, side in {**usual, **product.traces}.items():
        what, colon, pattern = trace.partition(":")
        if what in names:
            found = [name for name in names[what] if re.fullmatch(pattern, name)]
        else:
            words = [pattern] if colon else trace.split()
            found = [path for path in [shutil.which(words[0])] if path]
            commands.update({side: [*found, *words[1:]]} if found and not colon else {})
        signs.update({f"{what if colon else 'program'} {text}": side for text in found})
    return signs, commands


def look_for_forwarder(name: str, names: dict[str, list[str]], keys: list[Found]) -> Iterator[Found]:
    """A product, if it left a trace here: process, service, program, or the driver that brings the key."""
    product = forwarder.load_product(name)
    signs, commands = traces_of(product, names)
    driven = [key for key in keys if key.signs.endswith(f" {product.title}")]
    if not signs and not driven:
        return
    side = "client" if driven else next(filter(None, signs.values()), "")
    lists = sorted(commands, key=lambda asked: asked != side)
    heard = [(asked, *ask_list(product, commands[asked])) for asked in lists]
    side, device, server, says = next((told for told in heard if told[1]), [*heard, (side, "", "", "")][0])
    if driven and not product.sources:  # USB/IP has no list command: the kernel tells
        device = driven[0].signs[:9]
        server = next((port.server for port in usb.vhci_ports() or () if port.busid == driven[0].name), "")
    command = commands.get(side, [])
    options = {
        "product": name, "license-expires": CHANGE if product.needs_license else "perpetual", "side": side,
        "list-command": subprocess.list2cmdline(command) if os.name == "nt" else shlex.join(command),
        "device": device or (CHANGE if product.read and command else ""),
        **dict(sign.split(" ", 1) for sign, where in signs.items() if where in ("", side)),
        **(dict(zip(("hostname", "_", "port"), server.rpartition(":"))) if side == "client" else {}),
        **({"list-command": CHANGE} if product.exit_codes else {}),
    }  # fmt: skip
    options = {key: text for key, text in options.items() if text and key not in ("program", "_")}
    known_by = ", ".join(signs) or "driver"
    sentence = _("Forwarder {title}, by {signs}. {says}", product.title, known_by, says)
    yield Found(FORWARDER, name, known_by, sentence, options, 2 if device and heard else len(driven[:1]))


def ask_list(product: forwarder.Product, command: list[str]) -> tuple[str, str, str]:
    """What a list command says of the key: its name in the list, the machine it comes from, a sentence."""
    facts = ask.Facts(product, argparse.Namespace(list_command=command, utn_code=()))
    try:
        ask.ask_list(facts)
    except Problem as problem:
        return "", "", str(problem)
    if facts.listing is None:
        return "", "", facts.findings[0][1].sentence
    devices = facts.listing.devices
    keys = [device for device in devices if device.usb_id in usb.KEYS]  # not every list has ids
    keys = keys or [device for device in devices if "senselock" in device.name.casefold()]
    if not keys:
        return "", "", forwarder.judge_list(facts.listing).sentence
    name = keys[0].place if len(keys) > 1 else keys[0].usb_id or keys[0].name
    return name, keys[0].server, forwarder.judge_device(name, facts.listing).sentence


def is_kodeks(known: dict[str, str]) -> bool:
    """Whether a program is Kodeks' by its name, or by its folder (the monitor that stands in front of it)."""
    in_folder = re.fullmatch(KODEKS_FOLDER, os.path.dirname(known["exe"] or ""))
    return bool(in_folder or re.fullmatch(KODEKS_NAME, known["name"]))


def look_for_kodeks(known: dict[str, str], places: Collection[tuple[str, int]]) -> Iterator[Found]:
    """Kodeks at each port of one of its programs."""
    who = f"{known['name']} ({known['username']})"
    for host, port in sorted(places)[:20] or [("127.0.0.1", 0)]:
        said = [(_("does not answer") if port else _("no port of it can be seen: run this as root"), 0)]
        thread = threading.Thread(target=ask_kodeks, args=(host, port, said), daemon=True)
        if port:
            thread.start()
            thread.join(5)  # seconds
        says, rank = said[-1]
        options = {"hostname": host, "port": str(port or CHANGE)}
        options.update({"logname": CHANGE, "password": CHANGE} if rank < 2 else {})
        sentence = _("Kodeks at {host}:{port}, by {process}: {says}", host, port, who, says)
        yield Found(KODEKS, f"{host}:{port}", who, sentence, options, rank)


def ask_kodeks(host: str, port: int, said: list[tuple[str, int]]) -> None:
    """One request for the license page without a login: what that says, and 2 if it is shown, 1 if it is
    Kodeks that refuses it, 0 if nobody knows who answers."""
    try:
        answer = Server(f"http://{f'[{host}]' if ':' in host else host}:{port}").fetch("GET", LICENSE_PAGE)
        login = answer.refusal() == "login"
        bindings = [] if login else PageText(answer.text).bindings
    except (Problem, Unreachable) as problem:
        said.append((problem.args[0], 0))
        return
    says = worst_of(bindings)[1] if bindings else _("asks for a login") if login else _("no license page")
    said.append((says, 2 if bindings else int(login or answer.from_kodeks)))


def look_for_engines(wanted: str) -> Iterator[dict[str, str]]:
    """The engines (or the wanted one) whose configuration is here: what their files in engines/ say, with the
    user and the folder ("include") that this configuration names, and the text for the other side."""
    for path in sorted(glob.glob(os.path.join(os.path.dirname(__file__), "engines", "*.ini"))):
        text = read_private(path, "engines", LARGEST_INI, private=False)
        text, _line, other_side = text.partition("[other side]\n")
        engine = {key: value or "" for key, value in parse_ini(text, "engine") or ()}
        if os.path.isfile(engine["config"]) and wanted.casefold() in ("", engine["name"].casefold()):
            own = read_private(engine["config"], engine["name"], LARGEST_INI, private=False)
            user = re.search(r"(?m)^\s*(?:User|nrpe_user)\s*=\s*([\w.-]+)\s*$", own)
            folders = re.findall(r"(?m)^\s*(?:Include|include_dir)\s*=\s*(.*?)[\\/]?(?:\*\S*)?\s*$", own)
            include = [folder for folder in folders if os.path.isabs(folder) and os.path.isdir(folder)]
            yield {**engine, "user": user[1] if user else engine["user"], "include": [*include, ""][0],
                   "other side": other_side}  # fmt: skip
