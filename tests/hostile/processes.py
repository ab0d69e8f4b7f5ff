"""One hostile run of a whole process: the check as an engine starts it, against files, servers, tools and arguments.

Nothing outside loopback is asked: where a text of the grammar may become a host's name, the process runs in a network
of its own, which has no way out (unshare --net, needs root as the whole lab does).
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import NamedTuple

from lab.run_check import Outcome, command, run_process

from hostile import grammar, oracle
from hostile.grammar import KEY, KEY_ID, chance

SERVICES = {"senselock": "SENSELOCK", "kodeks_xml": "KODEKS_XML", "usb_redirector": "USB_REDIRECTOR"}
LIMIT = 6.0  # -t of each run, unless the arguments are hostile themselves
GRACE = 4.0  # seconds for starting Python on a machine with many others
NO_NETWORK = ("unshare", "--net")


class Run(NamedTuple):
    """What to run and what its input was. `data` = None: nothing here can tell whether OK is right."""

    check: str
    arguments: list[str]
    data: bytes | None = None
    stdin: bytes | None = None
    product: str = ""
    isolated: bool = False
    hostile_arguments: bool = False


@contextlib.contextmanager
def server_that_says(data: bytes) -> Iterator[int]:
    """A port on loopback that answers every connection with these bytes, whatever is asked, and hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    accepted, _ = listening.accept()
                except OSError:
                    return
                with accepted, contextlib.suppress(OSError):
                    accepted.settimeout(5)
                    accepted.recv(65536)
                    accepted.sendall(data)
                    accepted.shutdown(socket.SHUT_WR)
                    accepted.recv(65536)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join(6)


def stored_report(random: Random, folder: Path) -> Run:
    """--file, by name or as standard input."""
    data = grammar.any_report(random) if chance(random, 0.8) else grammar.any_page(random)
    more = [random.choice(("-v", "-vv", "-w:100", "-c~:", "--max-size=1")) for _ in range(grammar.few(random, 2))]
    if chance(random, 0.3):
        return Run("kodeks_xml", ["--file", "-", *more], data, data)
    path = folder / random.choice(("report.xml", "report_000000_20261123_2008.zip", "a | b\n=1.xml", "\x1b[31m.xml"))
    path.write_bytes(data)
    return Run("kodeks_xml", ["--file", str(path), *more], data)


def captured_list(random: Random, folder: Path) -> Run:
    """--list-output or --list-command, a date that is far away."""
    product = random.choice(tuple(grammar.samples()))
    data = grammar.any_list(random, product)
    text = KEY_ID if chance(random, 0.5) else KEY
    arguments = ["--product", product, "--license-expires", "perpetual", "--device", text, *(["-v"] if chance(random, 0.3) else [])]
    if chance(random, 0.5):
        return Run("usb_redirector", [*arguments, "--list-output", "-"], data, data, product)
    path = folder / "list.txt"
    path.write_bytes(data)
    if chance(random, 0.5):
        return Run("usb_redirector", [*arguments, "--list-output", str(path)], data, None, product)
    return Run("usb_redirector", [*arguments, "--list-command", f"cat {path}"], data, None, product)


def watched_log(random: Random, folder: Path) -> Run:
    """--log with hostile lines and a state file that somebody else wrote."""
    (folder / "a.log").write_bytes(b"\n".join(grammar.raw(random, 40) if chance(random, 0.3) else random.choice(grammar.TOKENS) for _ in range(grammar.few(random, 9))))
    pattern = random.choice(("keys", "работает", "x", r"(?i)senselock", r"\d", "[", "(a|a)*b"))
    return Run("usb_redirector", ["--product", "generic", "--log", str(folder / "a.log"), "--log-pattern", pattern, "--state-dir", str(folder)])


def systemd_says(random: Random, folder: Path) -> Run:
    """--service, asked of a systemctl that prints what it likes."""
    data = grammar.systemd_answer(random)
    (folder / "answer").write_bytes(data)
    (folder / "systemctl").write_text(f"#!/bin/sh\nexec cat {folder}/answer\n")
    (folder / "systemctl").chmod(0o755)
    return Run("usb_redirector", ["--product", "generic", "--service", "x.service"], data, None, "systemd")


def hostile_ini(random: Random, folder: Path) -> Run:
    """--extra-opts from a hostile file."""
    (folder / "a.ini").write_bytes(grammar.ini(random))
    check = random.choice(tuple(SERVICES))
    return Run(check, [f"--extra-opts={random.choice(('', 'x'))}@{folder}/a.ini"], isolated=True, hostile_arguments=True)


def hostile_arguments(random: Random, folder: Path) -> Run:
    """Any argument list."""
    words = [word.encode("utf-8", "surrogatepass").decode("utf-8", "surrogateescape") for word in grammar.arguments(random)]
    return Run(random.choice(tuple(SERVICES)), words, isolated=True, hostile_arguments=True)


FILES = (stored_report, captured_list, watched_log, systemd_says, hostile_ini, hostile_arguments)


def example(random: Random) -> bool:
    """One run, judged. Returns whether the check said OK."""
    folder = Path(tempfile.mkdtemp(prefix="kodeks-hostile-"))
    try:
        kind = random.randrange(10)
        if kind < 2:
            http = kind == 0
            data = grammar.http_answer(random) if http else grammar.devlist_answer(random)
            with server_that_says(data) as port:
                where = ["-H", "127.0.0.1", "-p", str(port)]
                if http:
                    run = Run("kodeks_xml", [*where, "--source", random.choice(("page", "zip", "xml"))], data)
                else:
                    run = Run("usb_redirector", ["--product", "usbip", *where, "--device", KEY_ID], data, None, "devlist")
                return judged(run, finished(run, random, folder))
        run = random.choice(FILES)(random, folder)
        return judged(run, finished(run, random, folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def finished(run: Run, random: Random, folder: Path) -> tuple[Outcome, str]:
    """The outcome of a run and the encoding that it had to write in."""
    encoding = "utf-8" if chance(random, 0.8) else random.choice(("ascii", "cp1251", "latin-1"))
    env = {"HOME": str(folder), "XDG_STATE_HOME": str(folder), "PATH": f"{folder}:{os.environ['PATH']}", "PYTHONIOENCODING": encoding, "COLUMNS": "1",
           "LC_ALL": random.choice(("C", "C.UTF-8")), "http_proxy": "http://127.0.0.1:9/", "KODEKS_PASSWORD": ""}  # fmt: skip
    limit = [] if run.hostile_arguments else ["-t", f"{LIMIT:g}"]
    argv = command(run.check, *run.arguments, *limit)
    return run_process([*(NO_NETWORK if run.isolated else ()), *argv], env=env, stdin=run.stdin, cwd=folder, patience=60), encoding


def judged(run: Run, done: tuple[Outcome, str]) -> bool:
    """Hold an outcome against the contract, and an OK against its input."""
    outcome, encoding = done
    shown = (run, outcome)
    if outcome.stdout.startswith(b"usage: ") or re.fullmatch(rb"check_\w+ [0-9.]+ \([a-z-]+\)\n", outcome.stdout):
        assert outcome.code == 3 and not outcome.stderr and len(outcome.stdout) <= oracle.LIMIT, shown
        return False
    breaches = [*oracle.output_breaches(outcome.stdout, outcome.code, SERVICES[run.check], encoding), *([] if encoding != "utf-8" else outcome.breaches())]
    assert not breaches and not outcome.stderr, (breaches, shown)
    limit = 10.0 if run.hostile_arguments else LIMIT
    busy = max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
    assert outcome.seconds < limit + GRACE * busy, shown
    if outcome.code == 0:
        assert run.data is None or may_be_good(run), shown
    return outcome.code == 0


def may_be_good(run: Run) -> bool:
    """Whether the oracle sees a reason for OK in the input of a run."""
    assert run.data is not None
    if run.product == "devlist":
        return bytes.fromhex(KEY_ID.replace(":", "")) in run.data
    if run.product == "systemd":
        return b"loaded" in run.data and (b"active" in run.data or b"reloading" in run.data)
    if run.product:
        return oracle.list_may_be_good(run.product, run.data, run.arguments[run.arguments.index("--device") + 1])
    if "--file" in run.arguments:
        return not (oracle.archive_breaches if run.data.startswith(b"PK") else oracle.report_breaches)(run.data)
    return oracle.answer_may_be_good(run.data)


def main() -> None:
    """Show one run in full: `python -m hostile.processes SEED NUMBER`."""
    print(example(Random(f"{sys.argv[1]} process {sys.argv[2]}")))


if __name__ == "__main__":
    main()
