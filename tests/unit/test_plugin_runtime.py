"""The pure parts of the contract as tables, and child processes as they misbehave."""

from __future__ import annotations

import argparse
import os
import sys
import threading
import time
from pathlib import Path

import nagiosplugin
import plugin_runtime as runtime
import pytest
from lab.run_check import PUNCTUAL


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        pytest.param([], runtime.UNKNOWN, id="nothing judged"),
        pytest.param([0, 0], runtime.OK, id="all well"),
        pytest.param([0, 1], runtime.WARNING, id="warning"),
        pytest.param([1, 3, 0], runtime.UNKNOWN, id="unknown over warning"),
        pytest.param([3, 2, 1], runtime.CRITICAL, id="critical over unknown"),
    ],
)
def test_worst(states: list[int], expected: int) -> None:
    assert runtime.worst(states) == expected


@pytest.mark.parametrize(
    ("text", "limit", "expected"),
    [
        pytest.param("plain", 300, "plain", id="plain"),
        pytest.param("a | b=1", 300, "a / b=1", id="perfdata separator"),
        pytest.param("one\r\ntwo\n\nthree", 300, "one two three", id="line ends"),
        pytest.param("\x1b[31mred\x1b[0m\x07", 300, "[31mred [0m", id="terminal escapes"),
        pytest.param("a\u202eb\u200bc\ufeff", 300, "a b c", id="characters that reorder or hide"),
        pytest.param("a\u2028b\x85c\x9bd", 300, "a b c d", id="line ends of other standards"),
        pytest.param("nul\x00byte", 300, "nul byte", id="NUL"),
        pytest.param("\udc80x", 300, "x", id="a byte that is no UTF-8"),
        pytest.param("Ошибка  защиты\xa04111", 300, "Ошибка защиты 4111", id="Cyrillic and hard blanks"),
        pytest.param("x" * 20, 10, "xxxxxxx...", id="cut"),
        pytest.param(" " * 10**6 + "x", 10, "", id="a megabyte of blanks"),
        pytest.param(b"\xff", 300, "b'\\xff'", id="bytes"),
        pytest.param("", 300, "", id="empty"),
    ],
)
def test_clean(text: object, limit: int, expected: str) -> None:
    assert runtime.clean(text, limit) == expected


def lines(verdict: runtime.Verdict, encoding: str = "utf-8") -> list[bytes]:
    return verdict.render("X", encoding).split(b"\n")


@pytest.mark.parametrize(
    ("verdict", "encoding", "expected"),
    [
        pytest.param(runtime.Verdict(0, "fine", ("a=1;2;3;0",)), "utf-8", b"X OK - fine | a=1;2;3;0\n", id="whole"),
        pytest.param(runtime.Verdict(2, ""), "utf-8", b"X CRITICAL - no text\n", id="no sentence"),
        pytest.param(runtime.Verdict(1, "a | b=2\nc"), "utf-8", b"X WARNING - a / b=2 c\n", id="sentence cleaned"),
        pytest.param(runtime.Verdict(3, "ключ"), "cp1252", b"X UNKNOWN - \\u043a\\u043b\\u044e\\u0447\n", id="console without Cyrillic"),
        pytest.param(runtime.Verdict(3, "ключ"), "cp1251", b"X UNKNOWN - \xea\xeb\xfe\xf7\n", id="console of Russian Windows"),
        pytest.param(runtime.Verdict(0, "x", ("a=nan", "b=1e-07", "c='", "d=1 e=2", "ok=-1.5s;~:3;@1:2")), "utf-8",
                     b"X OK - x | ok=-1.5s;~:3;@1:2\n", id="only valid perfdata"),
        pytest.param(runtime.Verdict(0, "x", (), ("one | two", "three\nfour")), "utf-8", b"X OK - x\none / two\nthree four\n", id="details"),
    ],
)  # fmt: skip
def test_render(verdict: runtime.Verdict, encoding: str, expected: bytes) -> None:
    assert verdict.render("X", encoding) == expected


@pytest.mark.parametrize("letter", ["x", "ж", "😀"])
def test_a_long_sentence_gives_way_and_perfdata_stays(letter: str) -> None:
    output = runtime.Verdict(0, letter * 5000, ("a=1", "b=2")).render("X")
    assert len(output) <= runtime.MAX_OUTPUT
    assert len(output) > runtime.MAX_OUTPUT - 4
    assert output.endswith(b"... | a=1 b=2\n")
    output.decode("utf-8")


def test_details_give_way_by_whole_lines() -> None:
    output = runtime.Verdict(0, "x", ("a=1",), ("y" * 900,) * 9).render("X")
    assert len(output) <= runtime.MAX_OUTPUT
    assert output.split(b"\n")[0] == b"X OK - x | a=1"
    assert output.endswith(b"\n(more lines do not fit)\n")


def test_secrets_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "_secrets", [])
    monkeypatch.setattr(runtime, "_compared", {})
    runtime.keep_secret("hun|ter  22")
    verdict = runtime.Verdict(3, "refused 'hun/ter 22' and hun|ter  22", (), ("cookie hun/ter 22",))
    assert verdict.render("X") == b"X UNKNOWN - refused '***' and ***\ncookie ***\n"


ESCAPED = [
    # how it was escaped, the secret, what a server repeats
    ("JavaScript's encodeURIComponent", "Pa!ss/w&rd (1)*x", "Pa!ss%2Fw%26rd%20(1)*x"),
    ("Python's quote", "Pa!ss/w&rd (1)*x", "Pa%21ss/w%26rd%20%281%29%2Ax"),
    ("a form of a browser", "Pa!ss/w&rd (1)*x", "Pa%21ss%2Fw%26rd+%281%29*x"),
    ("JavaScript's encodeURI", "Pa!ss/w&rd (1)*x", "Pa!ss/w&rd%20(1)*x"),
    ("JavaScript's escape", "Пa!ss+é/1 (x)*@", "%u041Fa%21ss+%E9/1%20%28x%29*@"),
    ("small hexadecimal digits", "Pa!ss/w&rd", "Pa%21ss%2fw%26rd"),
    ("every byte", "geheim99", "%67%65%68%65%69%6d%39%39"),
    ("twice", "Pa!ss/w rd", "Pa!ss%252Fw%2520rd"),
    ("windows-1251", "S3cr/et+Пароль", "S3cr/et%2B%CF%E0%F0%EE%EB%FC"),
    ("UTF-8", "S3cr/et+Пароль!", "S3cr/et%2B%D0%9F%D0%B0%D1%80%D0%BE%D0%BB%D1%8C!"),
    ("UTF-8 taken for windows-1251", "S3cr+Пароль", "S3cr%2BРџР°СЂРѕР»СЊ"),
    ("windows-1251 that nothing escapes", "секрет", "секрет".encode().decode("cp1251")),
    ("JSON", 'a"b\\c/d', 'a\\"b\\\\c\\/d'),
    ("JSON in ASCII", "Пароль😀", "\\u041f\\u0430\\u0440\\u043e\\u043b\\u044c\\ud83d\\ude00"),
    ("HTML", "a<b>&'\"c", "a&lt;b&gt;&amp;&#39;&quot;c"),
    ("HTML twice", "a<b>&c", "a&amp;lt;b&amp;gt;&amp;amp;c"),
    ("HTML in hexadecimal", "a<b>я", "a&#x3C;b&#x3e;&#x044F;"),
    ("a secret with percents", "100%41b", "100%2541b"),
    ("a secret with plus", "a+b c+d", "a%2Bb+c%2Bd"),
    ("a secret that is escaped itself", "a%2Bb%3D%3Dxyz1234", "a+b==xyz1234"),
]


@pytest.mark.parametrize(("secret", "repeated"), [row[1:] for row in ESCAPED], ids=[row[0] for row in ESCAPED])
def test_a_secret_is_known_however_it_is_escaped(secret: str, repeated: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "_secrets", [])
    monkeypatch.setattr(runtime, "_compared", {})
    text = f"[login%20{repeated}&x=%41] +"
    assert runtime.clean(text) == text
    runtime.keep_secret(secret)
    assert runtime.clean(text) == "[login%20***&x=%41] +"
    assert runtime.Verdict(3, text, (), (text,)).render("X") == b"X UNKNOWN - [login%20***&x=%41] +\n[login%20***&x=%41] +\n"


def test_of_two_secrets_one_may_be_a_part_of_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "_secrets", [])
    monkeypatch.setattr(runtime, "_compared", {})
    for secret in ("invented", "invented-Пароль:1", "1x"):
        runtime.keep_secret(secret)
    assert runtime.clean("u:invented-%d0%9f%d0%b0%d1%80%d0%be%d0%bb%d1%8c:1x@h invented %69nvented") == "u:***x@h *** ***"


@pytest.mark.parametrize("text", ["[Ошибка] %2F &amp; + \\", "%CE%F8%E8%E1%EA%E0", "a%2", "%", "&#99999999;", "&#1114112;", "%u", "\\ud83d"])
def test_what_is_no_secret_stays(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret with characters that an encoding lacks is not found in every text with such characters."""
    monkeypatch.setattr(runtime, "_secrets", [])
    monkeypatch.setattr(runtime, "_compared", {})
    for secret in ("Пароль", "😀😀😀", "\\\\\\", "+", "  ", "ab"):
        runtime.keep_secret(secret)
    assert runtime.clean(text) == text


@pytest.mark.parametrize(
    ("spec", "value", "expected"),
    [
        pytest.param("1:", 0, nagiosplugin.Critical, id="below"),
        pytest.param("1:", 1, nagiosplugin.Ok, id="at the edge"),
        pytest.param("@1:5", 3, nagiosplugin.Critical, id="inverted"),
        pytest.param("~:", -5, nagiosplugin.Ok, id="no limit"),
        pytest.param("0", 0, nagiosplugin.Ok, id="zero is a threshold"),
        pytest.param("0", 1, nagiosplugin.Critical, id="above zero"),
        pytest.param("-1.5:", -2, nagiosplugin.Critical, id="negative decimals"),
        pytest.param("1:", float("nan"), nagiosplugin.Unknown, id="NaN is not OK"),
        pytest.param("1:", None, nagiosplugin.Unknown, id="missing is not OK"),
    ],
)
def test_judge(spec: str, value: float | None, expected: nagiosplugin.ServiceState) -> None:
    assert runtime.judge(value, None, runtime.threshold(spec)) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(3, "x=3;;1:;0", id="whole number"),
        pytest.param(0.0000001, "x=0;;1:;0", id="no exponent"),
        pytest.param(1e22, "x=10000000000000000000000;;1:;0", id="no exponent in the large"),
        pytest.param(2.50, "x=2.5;;1:;0", id="decimals"),
        pytest.param(float("inf"), "None", id="infinity"),
        pytest.param(None, "None", id="missing"),
    ],
)
def test_perfdata(value: float | None, expected: str) -> None:
    assert str(runtime.perfdata("x", value, "", None, runtime.threshold("1:"), 0)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("10", (10.0, 3), id="seconds"),
        pytest.param("0.5:critical", (0.5, 2), id="decimals and a state"),
        pytest.param("5:1", (5.0, 1), id="state as a number"),
        pytest.param("86400:UNKNOWN", (86400.0, 3), id="a day"),
    ],
)
def test_time_limit(text: str, expected: tuple[float, int]) -> None:
    assert runtime.time_limit(text) == expected


@pytest.mark.parametrize("text", ["", "0", "0.0", "-1", "inf", "nan", "1e3", "86401", "5:", "5:ok", "5:0", "5:4", ":2", "5 :2", "٣"])
def test_no_time_limit(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        runtime.time_limit(text)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        pytest.param([], (10.0, 3), id="default"),
        pytest.param(["-v", "-t", "3:critical"], (3.0, 2), id="two words"),
        pytest.param(["-t4"], (4.0, 3), id="one word"),
        pytest.param(["--timeout=5:1"], (5.0, 1), id="long"),
        pytest.param(["--timeout", "6", "-t", "7"], (7.0, 3), id="the last one counts"),
        pytest.param(["-t"], (10.0, 3), id="no value"),
        pytest.param(["-t", "x", "-t"], (10.0, 3), id="nonsense"),
    ],
)
def test_limit_in_bare_arguments(arguments: list[str], expected: tuple[float, int]) -> None:
    assert runtime._limit_in(arguments) == expected


INI = "\ufeff; c\n[a]\nkey = v=1 # kept\n flag\n--long=x\n\n[ b ]\nkey=2\n[a]\nkey=3\n# key=4\n[c]\n[d] # remark\nkey=5\n[e];remark\nkey=6\n[f]# [g]\n"


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        pytest.param("a", [("key", "v=1 # kept"), ("flag", None), ("long", "x"), ("key", "3")], id="repeated section and key"),
        pytest.param("b", [("key", "2")], id="blanks in the brackets"),
        pytest.param("c", [], id="empty section"),
        pytest.param("d", [("key", "5")], id="remark behind the section"),
        pytest.param("e", [("key", "6")], id="remark without a blank"),
        pytest.param("f", [], id="brackets in the remark"),
        pytest.param("g", None, id="no such section"),
        pytest.param("", None, id="empty name"),
    ],
)
def test_parse_ini(section: str, expected: object) -> None:
    assert runtime.parse_ini(INI, section) == expected


@pytest.mark.parametrize("sign", list("\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"), ids=ascii)
def test_only_a_line_end_ends_a_line_of_an_ini(sign: str) -> None:
    assert runtime.parse_ini(f"[x]\r\npassword=abc{sign}geheim99\r\na=1\rb\n", "x") == [("password", f"abc{sign}geheim99"), ("a", "1"), ("b", None)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("ASCII", "ASCII", id="ASCII"),
        pytest.param("ключ", "ключ", id="UTF-8"),
        pytest.param("ключ".encode("cp1251").decode("utf-8", "surrogateescape"), None, id="cp1251"),
        pytest.param("x\udc80", None, id="a byte"),
        pytest.param("\ud800", None, id="half of a character"),
    ],
)
def test_text_that_is_compared(text: str, expected: str | None) -> None:
    if expected is None:
        with pytest.raises(argparse.ArgumentTypeError, match="is not UTF-8; save the ini file, or the command's, as UTF-8"):
            runtime.proper_text(text)
    else:
        assert runtime.proper_text(text) == expected


VHCI = """hub port sta spd dev      sockfd local_busid
hs  0000 006 002 00040002 000003 1-1
hs  0001 004 000 00000000 000000 0-0
ss  0008 006 005 00050003 000007 4-1.2
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(VHCI, [runtime.VhciPort(0, "1-1"), runtime.VhciPort(8, "4-1.2")], id="used ports"),
        pytest.param(VHCI.splitlines()[0], [], id="no ports"),
        pytest.param("", None, id="empty"),
        pytest.param("prt sta spd dev socket local_busid\n000 006 002 00040002 0000 1-1", None, id="the form before Linux 4.13"),
        pytest.param(VHCI + "hs 0001", None, id="cut line"),
        pytest.param("\x00\xff\n" * 5, None, id="garbage"),
        pytest.param(VHCI.replace("  0000", " \xa00000"), None, id="a blank that the kernel does not write"),
    ],
)
def test_parse_vhci_status(text: str, expected: object) -> None:
    assert runtime.parse_vhci_status(text) == expected


def shell(text: str, limit: float = 5, max_bytes: int = 1000) -> runtime.CommandOutput:
    return runtime.run_command(["sh", "-c", text], limit, max_bytes)


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        pytest.param("echo out; echo err >&2", runtime.CommandOutput(b"out\nerr\n", 0), id="both outputs"),
        pytest.param("exit 26", runtime.CommandOutput(b"", 26), id="exit code"),
        pytest.param("kill -9 $$", runtime.CommandOutput(b"", -9), id="ended by a signal"),
        pytest.param("cat", runtime.CommandOutput(b"", 0), id="reads stdin"),
        pytest.param("exec >&- 2>&-; sleep 0.3; exit 4", runtime.CommandOutput(b"", 4), id="closes its output early"),
        pytest.param("head -c 5000 /dev/zero | tr '\\0' x; sleep 9", runtime.CommandOutput(b"x" * 1000, None, "printed more than 1000 bytes"),
                     id="prints without end"),
    ],
)  # fmt: skip
def test_run_command(script: str, expected: runtime.CommandOutput, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime._process, "started", time.monotonic())
    assert shell(script) == expected


@pytest.mark.parametrize(
    ("command", "failure"),
    [
        pytest.param(["/nonexistent/tool"], "does not exist", id="missing"),
        pytest.param(["/etc/passwd"], "may not be executed", id="not executable"),
        pytest.param(["/"], "may not be executed", id="a folder"),
        pytest.param(["a\0b"], "cannot be started (embedded null byte)", id="NUL in the name"),
    ],
)
def test_run_command_that_cannot_start(command: list[str], failure: str) -> None:
    assert runtime.run_command(command, 1) == runtime.CommandOutput(b"", None, failure)


@pytest.mark.parametrize(
    ("script", "seconds", "failure"),
    [
        pytest.param("echo begun; sleep 60", 0.3, "did not end within 0.3 s", id="hangs"),
        pytest.param("trap '' TERM; echo begun; sleep 60", 0.3, "did not end within 0.3 s", id="ignores SIGTERM"),
        pytest.param("echo begun; sleep 60 & ", 0.3, "", id="a grandchild keeps the output open"),
    ],
)
def test_run_command_is_on_time(script: str, seconds: float, failure: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime._process, "started", time.monotonic())
    started = time.monotonic()
    output = shell(script, limit=seconds)
    assert (output.stdout, output.failure) == (b"begun\n", failure)
    assert time.monotonic() - started < seconds + PUNCTUAL


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        pytest.param(5, runtime.CommandOutput(b"begun\n", 0), id="time is left"),
        pytest.param(0.5, runtime.CommandOutput(b"", None, "did not end within 0.5 s"), id="no time is left"),
    ],
)
def test_output_that_is_read_late_is_not_cut(limit: float, expected: runtime.CommandOutput, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine with far too much to do the reading thread gets its first turn long after the command has ended."""
    read, here = os.read, threading.get_ident()

    def late(descriptor: int, size: int) -> bytes:
        time.sleep(0 if threading.get_ident() == here else 1.0)
        return read(descriptor, size)

    monkeypatch.setattr(runtime._process, "started", time.monotonic())
    monkeypatch.setattr(os, "read", late)
    assert shell("echo begun", limit) == expected


def test_a_grandchild_does_not_survive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime._process, "started", time.monotonic())
    mark = tmp_path / "alive"
    shell(f"(sleep 0.8; touch {mark}) & echo begun", limit=0.3)
    time.sleep(1.0)
    assert not mark.exists()


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o666])
def test_a_password_file_open_to_all_is_refused(mode: int, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("hunter22")
    file.chmod(mode)
    with pytest.raises(runtime.Problem, match="run chmod o-rwx on it"):
        runtime.read_private(str(file), "--password-file")


def test_importing_changes_nothing() -> None:
    assert not runtime._process.armed
    assert sys.excepthook is sys.__excepthook__
