"""Faults that only a Windows Python showed, one section a kind."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from lab.engine_process import await_true
from lab.forwarder_tools import sample
from lab.kodeks_server import PASSWORD, USER, KodeksServer
from lab.run_check import SERVICES
from lab.windows import LIBUSB, USUAL, VERSIONS, WindowsMachine, compiled, quoted

GENERIC = ("--product", "generic", "--license-expires", "perpetual")
SHARED = sample("usbsrv-list-key-shared-constructed.txt")
USAGE = "; check_usb_redirector --help lists the options"


def redirector(windows: WindowsMachine, *arguments: str) -> tuple[int, str]:
    """Exit code and first line of a run about USB Redirector, without perfdata."""
    outcome = windows.run_check("usb_redirector", "--product", "usb-redirector", "--license-expires", "perpetual", *arguments)
    return outcome.code, outcome.line.partition(" | ")[0].removeprefix("USB_REDIRECTOR ")


# --- The DLL beside python.exe --------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_libusb_beside_python_is_found(version: str, windows: WindowsMachine) -> None:
    without = windows.run_check("senselock", version=version)
    with windows.libusb(LIBUSB, version):
        found = windows.run_check("senselock", version=version)
    missing = "libusb 1.0 is missing or too old: install the package libusb-1.0-0 (Windows: libusb-1.0.dll beside python.exe)"
    assert (without.code, without.line) == (3, f"SENSELOCK UNKNOWN - {missing} | key_state=3")
    assert (found.code, found.line.partition(":")[0]) == (2, "SENSELOCK CRITICAL - no SenseLock key")


# --- Code pages -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", autouse=True)
def console(windows: WindowsMachine) -> None:
    """The program that shows what is on a console."""
    shutil.copy(compiled("console.c"), windows.disk / "console.exe")


@pytest.mark.parametrize(("code_page", "shown"), [("866", "журнал"), ("1251", "журнал"), ("437", ascii("журнал")[1:-1]), ("65001", "журнал")])
def test_a_console_keeps_its_code_page(code_page: str, shown: str, windows: WindowsMachine) -> None:
    screen = windows.run(quoted(r"C:\console.exe", code_page, *windows.command("usb_redirector", *GENERIC, "--process", "журнал")))
    assert screen.text.startswith(f"USB_REDIRECTOR CRITICAL - process {shown} is not running: start it | processes=0;;;0 ")


@pytest.mark.parametrize("code_page", ["866", "1251", "65001"])
def test_a_console_shows_russian_sentences(code_page: str, windows: WindowsMachine) -> None:
    words = windows.command("usb_redirector", *GENERIC, "--process", "a/b", "--language", "ru")
    screen = windows.run(quoted(r"C:\console.exe", code_page, *words)).text
    assert screen.startswith("USB_REDIRECTOR UNKNOWN - --process - это имя процесса без каталога; ")


@pytest.mark.parametrize("way", ["direct", "zabbix"])
@pytest.mark.parametrize("encoding", ["", "cp866", "cp1251", "utf-16"])
def test_an_engine_gets_utf_8_whatever_the_code_page(encoding: str, way: str, windows: WindowsMachine) -> None:
    outcome = windows.run_check("usb_redirector", *GENERIC, "--process", "журнал", way=way, env={"PYTHONIOENCODING": encoding})
    assert outcome.line.startswith("USB_REDIRECTOR CRITICAL - process журнал is not running: start it | ")


# --- Nothing is left running ----------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["direct", "zabbix"])
def test_what_a_list_command_has_started_ends_with_the_check(way: str, windows: WindowsMachine) -> None:
    sleeper = windows.stand_in("sleeper", sleeps=True)
    (windows.disk / "forwarders/list.bat").write_text(f"@echo off\r\necho begun > C:\\forwarders\\begun\r\n{sleeper}\r\n")
    begun = windows.disk / "forwarders/begun"
    begun.unlink(missing_ok=True)
    outcome = windows.run_check("usb_redirector", "--product", "usb-redirector", "--license-expires", "perpetual",
                                "--list-command", r"cmd /c C:\forwarders\list.bat", "-t", "5", way=way)  # fmt: skip
    assert (outcome.code, begun.exists()) == (3, True)
    assert "list command cmd /c C:\\forwarders\\list.bat did not end within " in outcome.line
    await_true("what it has started has ended, too", lambda: not windows.is_running("sleeper.exe"), 10)


@pytest.mark.parametrize(("file", "said"), [("sleeper.exe", "did not end within "), ("no-such-program", "does not exist"), ("note.txt", "cannot be started (")])
def test_a_list_command_that_gives_no_list(file: str, said: str, windows: WindowsMachine) -> None:
    windows.stand_in("sleeper", sleeps=True)
    (windows.disk / "forwarders/note.txt").write_text("no program")
    code, line = redirector(windows, "--list-command", rf"C:\forwarders\{file}", "-t", "5")
    assert (code, line.partition(said)[:2]) == (3, (f"UNKNOWN - list command C:\\forwarders\\{file} ", said))


STUCK = {
    "a library that does not load": "import time\ntime.sleep(30)",
    "a busy loop": "while True:\n    pass",
    "an except that swallows all": "import time\nwhile True:\n    try:\n        time.sleep(30)\n    except BaseException:\n        pass",
}


@pytest.mark.parametrize("wait", STUCK.values(), ids=STUCK)
@pytest.mark.parametrize("check", SERVICES)
def test_the_deadline_holds_without_an_alarm_signal(check: str, wait: str, windows: WindowsMachine, tmp_path: Path) -> None:
    (tmp_path / "nagiosplugin.py").write_text(wait)
    outcome = windows.run_check(check, "-t", "0.6:critical", env={"PYTHONPATH": f"Z:{tmp_path}"})
    assert (outcome.code, outcome.text) == (2, f"{SERVICES[check]} CRITICAL - timed out after 0.6 s while starting\n")


# --- Names ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [r"C:\tools\x.exe", "C:/tools/x.exe", r"tools\x.exe"])
def test_a_process_is_no_path(name: str, windows: WindowsMachine) -> None:
    assert redirector(windows, "--process", name) == (3, f"UNKNOWN - --process is a name, without a folder{USAGE}")


def test_a_process_is_found_whatever_its_capitals(windows: WindowsMachine) -> None:
    windows.start(windows.stand_in("Форвардер", sleeps=True))
    for name in ("Форвардер.exe", "ФОРВАРДЕР.EXE"):
        await_true("it runs", lambda: windows.is_running("Форвардер.exe"), 10)
        assert redirector(windows, "--process", name) == (0, f"OK - license of USB Redirector is perpetual; process {os_name(name)} is running")


def os_name(name: str) -> str:
    """A name as Windows compares it."""
    return name.lower()


@pytest.mark.parametrize("program", ["check_senselock.exe", "CHECK_SENSELOCK.EXE", "Check_SenseLock"])
def test_a_check_knows_itself_in_capitals(program: str, windows: WindowsMachine, tmp_path: Path) -> None:
    """A launcher made by pip gives its own path. The deadline must run before anything is imported."""
    (tmp_path / "nagiosplugin.py").write_text("import time\ntime.sleep(30)")
    launch = (f"import sys; sys.argv = [r'C:\\Scripts\\{program}', '-t', '0.6']; "
              r"sys.path.insert(0, r'C:\Program Files\kodeks'); import check_senselock; check_senselock.main()")  # fmt: skip
    outcome = windows.run(quoted(windows.python(), "-c", launch), env={"PYTHONPATH": f"Z:{tmp_path}"}, patience=20)
    assert (outcome.code, outcome.text, outcome.stderr) == (3, "SENSELOCK UNKNOWN - timed out after 0.6 s while starting\n", b"")


@pytest.mark.parametrize("name", ["MSSQL$KODEKS", "Служба ключа"])
def test_a_service_by_any_name(name: str, windows: WindowsMachine) -> None:
    program = windows.stand_in("service")
    windows.run(f'sc create "{name}" binPath= "{program} --service \\"{name}\\""')
    assert redirector(windows, "--service", name) == (2, f"CRITICAL - service {name} is not running (inactive, stopped): start it, or check --service")
    windows.run(f'sc start "{name}"')
    assert redirector(windows, "--service", name) == (0, f"OK - license of USB Redirector is perpetual; service {name} is running")


# --- What the system refuses ----------------------------------------------------------------------------------


def test_a_process_that_cannot_be_read_hides_nothing_else(windows: WindowsMachine) -> None:
    """Wine itself has no answer for psutil here."""
    words = ("--process", "vhui64.exe", "--service", "no-such", "--list-command", windows.stand_in("usbsrv", SHARED), "--device", "0471:485d")
    outcome = windows.run_check("usb_redirector", *GENERIC[2:], "--product", "usb-redirector", *words, env={"KODEKS_LAB_NO_NAMES": "1"})
    assert outcome.code == 3
    assert outcome.line.startswith("USB_REDIRECTOR UNKNOWN - --process cannot be judged: a process cannot be read: ")
    assert "; service no-such cannot be asked: " in outcome.line
    assert outcome.line.endswith("license_state=0 process_state=3 answer_state=0 device_state=0")


# --- Places that everybody may make ---------------------------------------------------------------------------


@pytest.fixture
def planted(windows: WindowsMachine) -> str:
    """Files below C:\\ where Linux has its own; the folder from which a check is started that reads them by mistake."""
    files = {
        "etc/monitoring-plugins/monitoring-plugins.ini": "[check_usb_redirector]\nproduct = generic\nlicense-expires = perpetual\n",
        "sys/bus/usb/devices/1-4/authorized": "0\n",
        "sys/bus/usb/devices/1-4/idVendor": "0471\n",
        "sys/bus/usb/devices/1-4/idProduct": "485d\n",
        "sys/bus/usb/devices/1-4/serial": "planted\n",
        "sys/devices/platform/vhci_hcd.0/status": "hub port sta spd dev      sockfd local_busid\nhs  0000 006 002 00040002 000003 1-4\n",
        **{f"proc/{number}/comm": "another\n" for number in range(4, 4000, 4)},
    }
    for name, text in files.items():
        path = windows.disk / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return "C:\\"


def test_nobody_answers_in_the_place_of_linux(windows: WindowsMachine, planted: str) -> None:
    def line(check: str, *arguments: str, **env: str) -> str:
        return windows.run(quoted(*windows.command(check, *arguments)), folder=planted, env=env).text

    assert line("usb_redirector", "--extra-opts") == "USB_REDIRECTOR UNKNOWN - --extra-opts: no ini file found; name one with @FILE\n"
    with windows.libusb(compiled("libusb.c", "-shared")):
        key = line("senselock", "-v", KODEKS_LAB_USB="1:8086:a36d 1-4:0471:485d")
    assert key.startswith("SENSELOCK OK - 1 SenseLock key: 0471:485d at 1-4, location unknown | ") and "planted" not in key
    assert "nothing that is attached here can be read" in line("usb_redirector", "--product", "usbip", "--device", "0471:485d")
    windows.start(windows.stand_in("usbhere", sleeps=True))
    await_true("it runs", lambda: windows.is_running("usbhere.exe"), 10)
    assert "process usbhere.exe is running" in line("usb_redirector", *GENERIC, "--process", "usbhere.exe")


# --- Encodings and quotes -------------------------------------------------------------------------------------

ENCODINGS = ["utf-8", "utf-8-sig", "utf-16"]  # Notepad and PowerShell write all of them


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_an_ini_and_a_password_in_every_encoding_of_windows(encoding: str, windows: WindowsMachine, tmp_path: Path) -> None:
    with KodeksServer(users={USER: "пароль-22"}) as server:
        (tmp_path / "password").write_bytes("пароль-22\r\n".encode(encoding))
        (tmp_path / "kodeks.ini").write_bytes(f"# комментарий\r\n[ключ]\r\nhostname = {server.host}\r\nport = {server.port}\r\nlogname = {USER}\r\n".encode(encoding))
        outcome = windows.run_check("kodeks_xml", f"--extra-opts=ключ@{tmp_path}/kodeks.ini", "--password-file", str(tmp_path / "password"))
    assert outcome.code == 0, outcome.text


def test_a_code_page_is_named(windows: WindowsMachine, tmp_path: Path) -> None:
    (tmp_path / "password").write_bytes("пароль-22".encode("cp1251"))
    (tmp_path / "kodeks.ini").write_bytes("[x]\nprocess = журнал\n".encode("cp1251"))
    password = windows.run_check("kodeks_xml", "-H", "192.0.2.1", "-l", USER, "--password-file", str(tmp_path / "password"))
    option = windows.run_check("usb_redirector", *GENERIC, f"--extra-opts=x@{tmp_path}/kodeks.ini")
    assert (password.code, password.line[:65]) == (3, "KODEKS_XML UNKNOWN - -l without a password in UTF-8: use --password-fi"[:65])
    assert (option.code, option.line) == (3, f"USB_REDIRECTOR UNKNOWN - an option is not UTF-8; save the ini file, or the command's, as UTF-8{USAGE}")
    assert PASSWORD not in password.text


def test_the_quotes_of_a_list_command_are_those_of_windows(windows: WindowsMachine) -> None:
    shutil.copytree(windows.disk / Path(windows.stand_in("usbsrv", SHARED)[3:].replace("\\", "/")).parent, windows.disk / "my forwarder's", dirs_exist_ok=True)
    words = r'''"C:\my forwarder's\usbsrv.exe" --opt="a b" "C:\dir\" 'c d' $HOME %PATH% "" ; | >x'''
    assert redirector(windows, "--list-command", words, "--device", "0471:485d")[0] == 0
    given = (windows.disk / "my forwarder's/usbsrv.args").read_text("utf-8-sig").splitlines()
    assert given == ["--opt=a b", "C:\\dir\\", "'c", "d'", "$HOME", "%PATH%", "", ";", "|", ">x"]


# --- Advice that fits the system ------------------------------------------------------------------------------


def test_advice_is_for_windows(windows: WindowsMachine, tmp_path: Path) -> None:
    (tmp_path / "psutil.py").write_text("raise ModuleNotFoundError('No module', name='psutil')")
    missing = windows.run_check("usb_redirector", *GENERIC, "--process", "x", env={"PYTHONPATH": f"Z:{tmp_path}"})
    assert missing.line.startswith("USB_REDIRECTOR UNKNOWN - the Python library psutil is missing: run pip install psutil | ")
    with windows.libusb(compiled("libusb.c", "-shared")):
        refuses = windows.run_check("senselock", env={"KODEKS_LAB_USB_REFUSES": "1"})
    assert refuses.line == "SENSELOCK UNKNOWN - libusb 1.0 cannot start (libusb_init failed): check the rights of this user (Linux: and /dev/bus/usb) | key_state=3"
    frozen = r"import sys; sys.path.insert(0, r'C:\Program Files\kodeks'); from kodeks_monitoring.forwarders.ask import judge_process; "
    frozen += "print(judge_process('x.exe', {7: 'stopped'}, 0).sentence)"
    assert windows.run(quoted(windows.python(USUAL), "-c", frozen)).text.strip() == "process x.exe is frozen: resume process 7, or restart it"
