"""The pure parts of the contract as tables, and child processes as they misbehave."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import nagiosplugin
import pytest
from kodeks_monitoring.contract import deadline, verdict
from kodeks_monitoring.contract.deadline import limit_in
from kodeks_monitoring.contract.options import host_name, split_extra_opts, threshold, time_limit
from kodeks_monitoring.contract.private_files import parse_ini, read_private
from kodeks_monitoring.contract.run import Number, judge
from kodeks_monitoring.contract.verdict import (
    CRITICAL,
    MAX_OUTPUT,
    OK,
    UNKNOWN,
    WARNING,
    Problem,
    Verdict,
    clean,
    keep_secret,
    worst,
)
from kodeks_monitoring.machine.command import CommandOutput, run_command
from lab.run_check import PUNCTUAL


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        pytest.param([], UNKNOWN, id="nothing judged"),
        pytest.param([0, 0], OK, id="all well"),
        pytest.param([0, 1], WARNING, id="warning"),
        pytest.param([1, 3, 0], UNKNOWN, id="unknown over warning"),
        pytest.param([3, 2, 1], CRITICAL, id="critical over unknown"),
    ],
)
def test_worst(states: list[int], expected: int) -> None:
    assert worst(states) == expected


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
    assert clean(text, limit) == expected


def lines(verdict: Verdict, encoding: str = "utf-8") -> list[bytes]:
    return verdict.render("X", encoding).split(b"\n")


@pytest.mark.parametrize(
    ("verdict", "encoding", "expected"),
    [
        pytest.param(Verdict(0, "fine", ("a=1;2;3;0",)), "utf-8", b"X OK - fine | a=1;2;3;0\n", id="whole"),
        pytest.param(Verdict(2, ""), "utf-8", b"X CRITICAL - no text\n", id="no sentence"),
        pytest.param(Verdict(1, "a | b=2\nc"), "utf-8", b"X WARNING - a / b=2 c\n", id="sentence cleaned"),
        pytest.param(Verdict(3, "ключ"), "cp1252", b"X UNKNOWN - \\u043a\\u043b\\u044e\\u0447\n", id="console without Cyrillic"),
        pytest.param(Verdict(3, "ключ"), "cp1251", b"X UNKNOWN - \xea\xeb\xfe\xf7\n", id="console of Russian Windows"),
        pytest.param(Verdict(0, "x", (), ("one | two", "three\nfour")), "utf-8", b"X OK - x\none / two\nthree four\n", id="details"),
    ],
)  # fmt: skip
def test_render(verdict: Verdict, encoding: str, expected: bytes) -> None:
    assert verdict.render("X", encoding) == expected


@pytest.mark.parametrize("letter", ["x", "ж", "😀"])
def test_a_long_sentence_gives_way_and_perfdata_stays(letter: str) -> None:
    output = Verdict(0, letter * 5000, ("a=1", "b=2")).render("X")
    assert len(output) <= MAX_OUTPUT
    assert len(output) > MAX_OUTPUT - 4
    assert output.endswith(b"... | a=1 b=2\n")
    output.decode("utf-8")


def test_details_give_way_by_whole_lines() -> None:
    output = Verdict(0, "x", ("a=1",), ("y" * 900,) * 9).render("X")
    assert len(output) <= MAX_OUTPUT
    assert output.split(b"\n")[0] == b"X OK - x | a=1"
    assert output.endswith(b"y\n")


ESCAPED = [
    # how a server repeats it, the secret, what it repeats
    ("as it is", "Pa!ss/w&rd (1)", "Pa!ss/w&rd (1)"),
    ("in lower case, as the name of a host", "Pa!ss/W&rd", "pa!ss/w&rd"),
    ("percent-encoded", "Pa!ss/w&rd (1)*x", "Pa%21ss%2Fw%26rd%20%281%29%2Ax"),
    ("percent-encoded in small digits", "pa!ss/w&rd", "pa%21ss%2fw%26rd"),
    ("percent-encoded UTF-8", "Пароль1", "%D0%9F%D0%B0%D1%80%D0%BE%D0%BB%D1%8C1"),
    ("base64", "smartlogin:geheim22", "c21hcnRsb2dpbjpnZWhlaW0yMg"),
    ("base64 with its padding", "smartlogin:geheim22", "c21hcnRsb2dpbjpnZWhlaW0yMg=="),
    ("base64 in lower case", "smartlogin:geheim22", "c21hcnrsb2dpbjpnzwhlaw0ymg"),
]


@pytest.mark.parametrize(("secret", "repeated"), [row[1:] for row in ESCAPED], ids=[row[0] for row in ESCAPED])
def test_a_secret_is_masked(secret: str, repeated: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verdict, "_secrets", [])
    text = f"[login {repeated}] +"
    assert clean(text) == text
    keep_secret(secret)
    shown = clean(text).replace("***==", "***")
    assert shown == "[login ***] +"
    output = Verdict(3, text, (), (text,)).render("X").replace(b"***==", b"***")
    assert output == b"X UNKNOWN - [login ***] +\n[login ***] +\n"


def test_of_two_secrets_one_may_be_a_part_of_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verdict, "_secrets", [])
    for secret in ("invented", "invented-1", "1x"):
        keep_secret(secret)
    assert clean("u:invented-1@h invented 1x") == "u:***@h *** 1x"


@pytest.mark.parametrize(
    ("spec", "value", "expected"),
    [
        pytest.param("1:", 0, CRITICAL, id="below"),
        pytest.param("1:", 1, OK, id="at the edge"),
        pytest.param("@1:5", 3, CRITICAL, id="inverted"),
        pytest.param("~:", -5, OK, id="no limit"),
        pytest.param("0", 0, OK, id="zero is a threshold"),
        pytest.param("0", 1, CRITICAL, id="above zero"),
        pytest.param("-1.5:", -2, CRITICAL, id="negative decimals"),
        pytest.param("1:", float("nan"), UNKNOWN, id="NaN is not OK"),
        pytest.param("1:", None, UNKNOWN, id="missing is not OK"),
    ],
)
def test_judge(spec: str, value: float | None, expected: int) -> None:
    assert judge(value, None, threshold(spec)) == expected


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
    number = Number("x", "", None, threshold("1:"), 0)
    assert str(number.performance(nagiosplugin.Metric("x", value), nagiosplugin.Resource())) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("10", (10.0, None), id="seconds"),
        pytest.param("0.5:critical", (0.5, 2), id="decimals and a state"),
        pytest.param("5:1", (5.0, 1), id="state as a number"),
        pytest.param("86400:UNKNOWN", (86400.0, 3), id="a day"),
    ],
)
def test_time_limit(text: str, expected: tuple[float, int | None]) -> None:
    assert time_limit(text) == expected


@pytest.mark.parametrize("text", ["", "0", "0.0", "-1", "inf", "nan", "1e3", "86401", "5:", "5:ok", "5:0", "5:4", ":2", "5 :2", "٣"])
def test_no_time_limit(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        time_limit(text)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        pytest.param([], (10.0, None), id="default"),
        pytest.param(["-v", "-t", "3:critical"], (3.0, 2), id="two words"),
        pytest.param(["-t4"], (4.0, None), id="one word"),
        pytest.param(["--timeout=5:1"], (5.0, 1), id="long"),
        pytest.param(["--timeout", "6", "-t", "7"], (7.0, None), id="the last one counts"),
        pytest.param(["-t"], (10.0, None), id="no value"),
        pytest.param(["-t", "x", "-t"], (10.0, None), id="nonsense"),
    ],
)
def test_limit_in_bare_arguments(arguments: list[str], expected: tuple[float, int | None]) -> None:
    assert limit_in(arguments) == expected


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
    assert parse_ini(INI, section) == expected


@pytest.mark.parametrize("sign", list("\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"), ids=ascii)
def test_only_a_line_end_ends_a_line_of_an_ini(sign: str) -> None:
    assert parse_ini(f"[x]\r\npassword=abc{sign}geheim99\r\na=1\rb\n", "x") == [("password", f"abc{sign}geheim99"), ("a", "1"), ("b", None)]


def shell(text: str, limit: float = 5, max_bytes: int = 1000) -> CommandOutput:
    return run_command(["sh", "-c", text], limit, max_bytes)


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        pytest.param("echo out; echo err >&2", CommandOutput(b"out\nerr\n", 0), id="both outputs"),
        pytest.param("exit 26", CommandOutput(b"", 26), id="exit code"),
        pytest.param("kill -9 $$", CommandOutput(b"", -9), id="ended by a signal"),
        pytest.param("cat", CommandOutput(b"", 0), id="reads stdin"),
        pytest.param("exec >&- 2>&-; sleep 0.3; exit 4", CommandOutput(b"", 4), id="closes its output early"),
        pytest.param("head -c 5000 /dev/zero | tr '\\0' x; sleep 9", CommandOutput(b"x" * 1000, None, "printed more than 1000 bytes"),
                     id="prints without end"),
    ],
)  # fmt: skip
def test_run_command(script: str, expected: CommandOutput, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadline._plugin, "started", time.monotonic())
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
    assert run_command(command, 1) == CommandOutput(b"", None, failure)


@pytest.mark.parametrize(
    ("script", "seconds", "failure"),
    [
        pytest.param("echo begun; sleep 60", 0.3, "did not end within 0.3 s", id="hangs"),
        pytest.param("trap '' TERM; echo begun; sleep 60", 0.3, "did not end within 0.3 s", id="ignores SIGTERM"),
        pytest.param("echo begun; sleep 60 & ", 0.3, "", id="a grandchild keeps the output open"),
    ],
)
def test_run_command_is_on_time(script: str, seconds: float, failure: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadline._plugin, "started", time.monotonic())
    started = time.monotonic()
    output = shell(script, limit=seconds)
    assert (output.stdout, output.failure) == (b"begun\n", failure)
    assert time.monotonic() - started < seconds + PUNCTUAL


def test_a_grandchild_does_not_survive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadline._plugin, "started", time.monotonic())
    mark = tmp_path / "alive"
    shell(f"(sleep 0.8; touch {mark}) & echo begun", limit=0.3)
    time.sleep(1.0)
    assert not mark.exists()


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o666])
def test_a_password_file_open_to_all_is_refused(mode: int, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("hunter22")
    file.chmod(mode)
    with pytest.raises(Problem, match="run chmod o-rwx on it"):
        read_private(str(file), "--password-file")


def test_importing_changes_nothing() -> None:
    assert not deadline._plugin.service
    assert sys.excepthook is sys.__excepthook__


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("kodeks.example", "kodeks.example", id="name"),
        pytest.param("192.0.2.10", "192.0.2.10", id="address"),
        pytest.param("[2001:db8::1]", "2001:db8::1", id="IPv6 in brackets"),
        pytest.param("fe80::1%eth0", "fe80::1%eth0", id="IPv6 with a zone"),
        pytest.param("пример.example", "xn--e1afmkfd.example", id="a Cyrillic name"),
        pytest.param("", None, id="empty"),
        pytest.param("kodeks.example:80", None, id="with a port"),
        pytest.param("http://kodeks.example", None, id="a URL"),
        pytest.param("-v", None, id="an option"),
        pytest.param("u:geheim22@kodeks.example", None, id="with a password"),
        pytest.param("a b", None, id="a blank"),
    ],
)
def test_host_name(text: str, expected: str | None) -> None:
    if expected is None:
        with pytest.raises(argparse.ArgumentTypeError) as told:
            host_name(text)
        assert "geheim22" not in str(told.value)
    else:
        assert host_name(text) == expected


@pytest.mark.parametrize(
    ("arguments", "plain", "sections"),
    [
        pytest.param(["-v", "--extra-opts"], ["-v"], [""], id="bare, last"),
        pytest.param(["--extra-opts", "a@b", "-v"], ["-v"], ["a@b"], id="a word of its own"),
        pytest.param(["--extra-opts", "-v"], ["-v"], [""], id="an option follows"),
        pytest.param(["--extra-opts=a", "b"], ["b"], ["a"], id="glued"),
        pytest.param(["--extra-opts", "a", "b"], ["b"], ["a"], id="only one word"),
        pytest.param(["--extra-opts=a", "--extra-opts", "b"], [], ["a", "b"], id="twice"),
    ],
)
def test_split_extra_opts(arguments: list[str], plain: list[str], sections: list[str]) -> None:
    assert split_extra_opts(arguments) == (plain, sections)
