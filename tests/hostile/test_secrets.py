"""Where a password may appear: in what is sent to the server that was named, and nowhere else.

Each row is a whole run with the password in a file. While it runs, its command line and those of its children are read
from /proc; afterwards its output (-vvv), the files it left and what it sent to strangers are searched for the password,
for the spellings in which servers and proxies repeat it, and for the cookies that stand for it.
"""

from __future__ import annotations

import base64
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil
import pytest
from lab import reports
from lab.faults import Certificate, Connection, Fault
from lab.kodeks_server import USER, KodeksServer, Refusal
from lab.raw_server import Answer, server_that
from lab.run_check import Outcome, command, run_check

PASSWORD = "s3cret-(Пароль)/*: +1"  # nothing of it is a part of a cookie, which is hidden too
CODE = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
SESSION = "c0ffee-session-0123456789/+="
PERCENT = quote(PASSWORD, safe="")
ALONE = base64.b64encode(PASSWORD.encode()).decode().rstrip("=")
SPELLINGS = {
    "the password": PASSWORD,
    "percent-encoded": PERCENT,
    "in base64": ALONE,
    "user and password in base64": CODE.rstrip("="),
    "the password in lower case": PASSWORD.lower(),
    "percent-encoded in lower case": PERCENT.lower(),
    "in base64 in lower case": ALONE.lower(),
}
"""The forms that servers and proxies repeat: as it is, percent-encoded, base64, each of them in lower case."""
SESSIONS = {"the session": SESSION, "the session in a form": quote(SESSION, safe="")}
PAGE = "/admin/lic"


def leaks(text: str) -> list[str]:
    """What of the secrets a text shows: whole, or half of it, as a cut would leave it."""
    return [name for name, secret in (SPELLINGS | SESSIONS).items() if secret in text or secret[: len(secret) // 2 + 2] in text]


def password_file(folder: Path) -> list[str]:
    (folder / "password").write_text(PASSWORD + "\n")
    (folder / "password").chmod(0o600)
    return ["-l", USER, "--password-file", str(folder / "password")]


def password_in_ini(folder: Path) -> list[str]:
    (folder / "kodeks.ini").write_text(f"[kodeks]\nlogname = {USER}\npassword = {PASSWORD}\n")
    (folder / "kodeks.ini").chmod(0o600)
    return [f"--extra-opts=kodeks@{folder / 'kodeks.ini'}"]


def watched(arguments: list[str], folder: Path) -> tuple[Outcome, str]:
    """Run the check with -vvv; its outcome, and every command line that it and its children had meanwhile."""
    home = folder / "home"
    home.mkdir(exist_ok=True)
    env = {**os.environ, "HOME": str(home), "TMPDIR": str(home), "XDG_STATE_HOME": str(home)}
    seen: set[str] = set()
    started = time.monotonic()
    child = subprocess.Popen(command("kodeks_xml", *arguments, "-vvv"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=home, env=env)
    process = psutil.Process(child.pid)
    while child.poll() is None:
        try:
            seen.add("\0".join(process.cmdline()))  # before its children, whose search takes long on a machine with many processes
            seen.update("\0".join(one.cmdline()) for one in process.children(recursive=True))
        except psutil.Error:
            pass  # it has ended just now
        time.sleep(0.005)
    stdout, stderr = child.communicate()
    assert list(home.rglob("*")) == [], "a run leaves no files"
    return Outcome(child.returncode, stdout, stderr, time.monotonic() - started), "\n".join(seen)


ROWS: list[tuple[str, dict[str, Any], list[str], int]] = [
    # id, state of the server, arguments, exit code
    ("all well", {}, ["--source", "page"], 0),
    ("all well, report", {}, ["--source", "xml"], 0),
    ("all well, login form", {"basic": False, "refusal": Refusal.LOGIN_PAGE}, ["--source", "page"], 0),
    ("login refused", {"users": {USER: "another"}}, ["--source", "page"], 3),
    ("login refused by the form", {"users": {USER: "another"}, "basic": False, "refusal": Refusal.LOGIN_ERROR}, ["--source", "zip"], 3),
    ("403", {"faults": {PAGE: Fault.FORBIDDEN}}, ["--source", "page"], 3),
    ("silent", {"faults": {"*": Fault.SILENT}}, ["--source", "page", "-t", "0.8"], 3),
    ("no such certificate", {"certificate": Certificate.EXPIRED}, ["--source", "page", "-S"], 3),
    *((f"binding repeats {name}", {"binding": f"SenseLock ключ - [no {secret}]"}, ["--source", "page"], 2) for name, secret in SPELLINGS.items()),
    *((f"binding is cut in {name}", {"binding": f"SenseLock ключ - [{'x' * 292} {secret}]"}, ["--source", "page"], 2) for name, secret in SPELLINGS.items()),
    *((f"report repeats {name}", {"binding": f"SenseLock ключ - [no {secret}]"}, ["--source", "xml", "--record", "/sysinfo/protection/binding"], 2)
      for name, secret in SPELLINGS.items()),
    ("report repeats the password, no pin", {"binding": f"SenseLock ключ - [no {PASSWORD}]"}, ["--source", "xml"], 3),
    ("report mentions the key amid the password", {"report": f"<r><big>{'y' * 280} {PASSWORD}SenseLock{PASSWORD} x</big></r>".encode()}, ["--source", "xml"], 3),
    *((f"redirect repeats {name}", {"faults": {PAGE: Fault.ELSEWHERE}, "elsewhere": f"/nothing?{secret}"}, ["--source", "page"], 3)
      for name, secret in SPELLINGS.items()),
    *((f"redirect elsewhere with {name}", {"faults": {PAGE: Fault.ELSEWHERE}, "elsewhere": f"http://{USER}:{secret}@192.0.2.1/"}, ["--source", "page"], 3)
      for name, secret in SPELLINGS.items() if "/" not in secret),
]  # fmt: skip


@pytest.mark.parametrize(("state", "arguments", "code"), [pytest.param(*row[1:], id=row[0]) for row in ROWS])
def test_nothing_shows(state: dict[str, Any], arguments: list[str], code: int, tmp_path: Path) -> None:
    with KodeksServer(**{"users": {USER: PASSWORD}, **state}) as server:
        there = ["-H", server.host, "-p", str(server.port), *password_file(tmp_path)]
        outcome, command_lines = watched([*there, *arguments], tmp_path)
        sent = any(request.carries_credentials for request in server.requests)
    assert outcome.breaches() == []
    assert outcome.code == code, outcome.text
    assert leaks(outcome.text) == []
    assert "check_kodeks_xml" in command_lines and leaks(command_lines) == []
    assert sent or "silent" in str(state.get("faults")) or "certificate" in state, "the row never used the password"


def repeating(text: bytes, session: str = SESSION) -> Answer:
    """A server that gives a session and repeats on its page whatever it was sent, and a text of its own."""

    def answer(connection: Connection, request: bytes) -> None:
        told = b" ".join(request.split(b"\r\n"))
        body = b"<BR>" + "Привязка: SenseLock ключ - [".encode() + told + b" " + text + b"]<BR>"
        cookie = b"" if b"Cookie:" in request else b"Location: /admin/lic\r\nSet-Cookie: Kodeks=" + session.encode() + b"\r\n"
        status = b"200 OK" if b"Cookie:" in request else b"307 Temporary Redirect"
        connection.send(b"HTTP/1.1 " + status + b"\r\nServer: " + told[-400:] + b"\r\n" + cookie + b"\r\n" + body)

    return answer


@pytest.mark.parametrize("write", [password_file, password_in_ini])
def test_a_server_that_repeats_the_whole_request(write: Callable[[Path], list[str]], tmp_path: Path) -> None:
    with server_that(repeating(SESSION.encode())) as port:
        outcome, command_lines = watched(["-H", "127.0.0.1", "-p", str(port), "--source", "page", *write(tmp_path)], tmp_path)
    assert (outcome.code, outcome.breaches()) == (2, [])
    assert "Authorization: Basic ***" in outcome.text, "the row shows the request, so that there is something to hide"
    assert leaks(outcome.text) + leaks(command_lines) == []


@pytest.mark.parametrize(("session", "repeated"), [("abcdef1234567890", "abcdef1234567890"), ("a/bcd=xyz1234", "a%2Fbcd%3Dxyz1234")])
def test_a_session_is_a_secret_too(session: str, repeated: str) -> None:
    with server_that(repeating(b"{" + repeated.encode() + b"}", session)) as port:
        outcome = run_check("kodeks_xml", "-H", "127.0.0.1", "-p", str(port), "--source", "page", "-vvv")
    assert outcome.code == 2 and "{***}" in outcome.text, outcome.text
    assert repeated not in outcome.text and session not in outcome.text


def test_the_search_finds_what_it_looks_for() -> None:
    """A password that is not registered shows in the same row: the searches above can fail."""
    with KodeksServer(binding=f"SenseLock ключ - [no {PASSWORD} {CODE}]", users={"other": "pass-of-other"}) as server:
        there = ("-H", server.host, "-p", str(server.port), "--source", "page", "-l", "other")
        outcome = run_check("kodeks_xml", *there, env={"KODEKS_PASSWORD": "pass-of-other"})
    assert set(leaks(outcome.text)) >= {"the password", "user and password in base64"}


@pytest.mark.parametrize("write", [password_file, password_in_ini])
@pytest.mark.parametrize(("mode", "refused"), [(0o600, False), (0o640, False), (0o660, False), (0o604, True), (0o602, True), (0o606, True), (0o666, True)], ids=oct)
def test_modes(write: Callable[[Path], list[str]], mode: int, refused: bool, tmp_path: Path) -> None:
    """A password that others may read is known; one that they may write is theirs."""
    arguments = write(tmp_path)
    file = next(tmp_path.iterdir())
    file.chmod(mode)
    with KodeksServer(binding=reports.WORKS, users={USER: PASSWORD}) as server:
        outcome = run_check("kodeks_xml", "-H", server.host, "-p", str(server.port), "--source", "page", *arguments)
        assert outcome.code == (3 if refused else 0)
        assert not refused or server.requests == [], "a refused password is not sent"
    option = "--password-file" if write is password_file else "--extra-opts"
    sentence = f"KODEKS_XML UNKNOWN - {option}: {file} holds a password and is open to all users; run chmod o-rwx on it\n"
    assert not refused or outcome.text == sentence


@pytest.mark.parametrize("line", [f"password: {PASSWORD}", f"password {PASSWORD}", f"--password;{PASSWORD}"], ids=["colon", "blank", "semicolon"])
def test_a_password_that_is_no_value(line: str, tmp_path: Path) -> None:
    """It is refused by its mode like any other, and not repeated as the name of an option that is not known."""
    ini = tmp_path / "kodeks.ini"
    ini.write_text(f"[s]\n{line}\nlogname=u\nhostname=192.0.2.1\n")
    for mode, sentence in (
        (0o644, f"--extra-opts: {ini} holds a password and is open to all users; run chmod o-rwx on it"),
        (0o600, "unknown option 'password' in the ini section for --extra-opts; check_kodeks_xml --help lists the options"),
    ):
        ini.chmod(mode)
        outcome = run_check("kodeks_xml", f"--extra-opts=s@{ini}")
        assert (outcome.code, outcome.text) == (3, f"KODEKS_XML UNKNOWN - {sentence}\n")


@pytest.mark.parametrize("arguments", [["--password", "-geheim99"], ["-Pgeheim99"], ["-vPgeheim99"], ["--password", "geheim99", "-xgeheim99"]], ids=" ".join)
def test_a_password_on_the_command_line_is_not_repeated(arguments: list[str]) -> None:
    outcome = run_check("kodeks_xml", "-H", "192.0.2.1", "-l", "u", *arguments)
    assert outcome.code == 3 and "geheim" not in outcome.text, outcome.text


NO_PASSWORD, NO_FILE = "-l without a password in UTF-8: use --password-file (first line)", "--password-file: {file} is not a regular file"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(b"", NO_PASSWORD, id="empty"),
        pytest.param(b"\nsecret\n", NO_PASSWORD, id="blank line first"),
        pytest.param("\ufeff\n".encode(), NO_PASSWORD, id="only a mark"),
        pytest.param("пароль-secret".encode("cp1251"), NO_PASSWORD, id="code page 1251"),
        pytest.param(b"x" * 5000, "--password-file: {file} is larger than 4096 bytes", id="huge"),
        pytest.param("mkfifo", NO_FILE, id="FIFO"),
        pytest.param("ln -s /dev/zero", NO_FILE, id="endless device"),
        pytest.param("mkdir", "--password-file: {file} cannot be read: Is a directory", id="folder"),
    ],
)
def test_password_files_that_are_none(content: bytes | str, words: str, tmp_path: Path) -> None:
    file = tmp_path / "password"
    if isinstance(content, bytes):
        file.write_bytes(content)
        file.chmod(0o600)
    else:
        subprocess.run([*content.split(), file], check=True)
    outcome = run_check("kodeks_xml", "-H", "192.0.2.1", "-l", USER, "--password-file", str(file), "-t", "5")
    assert outcome.code == 3 and words.format(file=file) in outcome.text, outcome.text
    assert "secret" not in outcome.text
