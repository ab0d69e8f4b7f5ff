"""The Debian package: built, judged by lintian, installed by apt, used by the real engines from their standard places,
removed and purged. All of it on a throw-away copy of a Debian machine with the engines."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from lab.engine_process import await_true, free_port, open_folder
from lab.run_check import ROOT, RUSSIAN, VERSION, russian_line
from lab.throwaway_machine import ThrowawayMachine

pytestmark = pytest.mark.xdist_group("packaging-debian")

NAME = "monitoring-plugins-kodeks"
PLUGINS = "/usr/lib/nagios/plugins"
SHARE = f"/usr/share/{NAME}"
PARAMETERS = "userparameter_kodeks_linux.conf"
AGENT_FOLDERS = ("/etc/zabbix/zabbix_agentd.conf.d", "/etc/zabbix/zabbix_agent2.d")


@pytest.fixture(scope="module")
def package(build: Callable[..., Path]) -> Iterator[Path]:
    """The built package, where every user can read it."""
    folder = open_folder("deb.")
    (file,) = build(folder, "debian").glob("*.deb")
    yield file
    file.unlink()
    folder.rmdir()


@pytest.fixture(scope="module")
def bare() -> Iterator[ThrowawayMachine]:
    """A copy of such a machine, before anything is installed. The tests of a module share it, in their order."""
    with ThrowawayMachine() as machine:
        yield machine


@pytest.fixture(scope="module")
def machine(bare: ThrowawayMachine, package: Path) -> ThrowawayMachine:
    """The copy with the package installed over a copy of the checks and of the agent's file that an administrator had made by
    hand, by the project's README. Asked which of the two files to keep, he takes the package's."""
    bare.run("mkdir", "-p", f"{PLUGINS}/kodeks")
    bare.run("sh", "-c", f"echo old >{PLUGINS}/kodeks/check_senselock.py")
    bare.run("cp", str(ROOT / "templates/zabbix" / PARAMETERS), AGENT_FOLDERS[0])
    install = ["apt-get", "install", "--yes", "--quiet=2", "--no-install-recommends", "-o", "Dpkg::Options::=--force-confnew"]
    bare.run(*install, str(package), env={"DEBIAN_FRONTEND": "noninteractive"})
    return bare


# --- The package itself ---------------------------------------------------------------------------------------


def test_lintian_has_nothing_to_say(package: Path) -> None:
    done = subprocess.run(["lintian", "--fail-on", "error,warning,info", "--display-info", package], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_its_version_is_the_checks_own(package: Path) -> None:
    shown = subprocess.run(["dpkg-deb", "-f", package, "Version"], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == VERSION, "packaging/debian/changelog has another version than kodeks_monitoring"


def test_built_elsewhere_it_is_the_same_bytes(package: Path, tmp_path: Path, build: Callable[..., Path]) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "dist").mkdir()
    elsewhere = {"TZ": "Pacific/Kiritimati", "HOME": str(tmp_path / "home"), "PYTHONHASHSEED": "7", "TMPDIR": str(tmp_path)}
    (again,) = build(tmp_path / "dist", "debian", env=elsewhere, umask=0o077).iterdir()
    assert (again.name, again.read_bytes()) == (package.name, package.read_bytes())


# --- Installed ------------------------------------------------------------------------------------------------


def test_every_check_and_template_is_in_its_place(machine: ThrowawayMachine) -> None:
    installed = set(machine.run("dpkg", "-L", NAME).splitlines())
    shipped = {str(path.relative_to(ROOT)) for folder in ("checks", "templates") for path in (ROOT / folder).rglob("*") if path.is_file()}
    missing = {name for name in shipped if "__pycache__" not in name and f"{SHARE}/{name}" not in installed}
    assert missing == set()
    assert machine.run("dpkg", "--verify", NAME) == ""
    for file in (file for file in installed if file.startswith("/etc/") and file.endswith((".cfg", ".conf"))):
        assert file in machine.run("dpkg-query", "-W", "-f", "${Conffiles}", NAME)


def test_the_copies_made_by_hand_are_replaced(machine: ThrowawayMachine) -> None:
    assert machine.run("readlink", "-f", f"{PLUGINS}/kodeks/check_senselock.py") == f"{SHARE}/checks/check_senselock.py\n"


def test_the_plugins_run_as_the_engines_user(machine: ThrowawayMachine, check: str) -> None:
    for place in (f"{PLUGINS}/{check}", f"{PLUGINS}/kodeks/{check}.py"):
        outcome = machine.try_run("setpriv", "--reuid=nagios", "--regid=nagios", "--clear-groups", "env", "-i", place, "-V")
        assert (outcome.code, outcome.text, outcome.stderr) == (3, f"{check} {VERSION} ({NAME})\n", b"")
    first_line = machine.run("head", "-n1", f"{SHARE}/checks/{check}.py")
    assert first_line.replace(" ", "") == "#!/usr/bin/python3\n"


def test_the_plugins_speak_russian(machine: ThrowawayMachine, check: str) -> None:
    for place in (f"{PLUGINS}/{check}", f"{PLUGINS}/kodeks/{check}.py"):
        outcome = machine.try_run("setpriv", "--reuid=nagios", "--regid=nagios", "--clear-groups", "env", "-i", place, *RUSSIAN)
        assert (outcome.code, outcome.text, outcome.stderr) == (3, russian_line(check), b"")


def test_the_libraries_of_the_distribution_suffice(machine: ThrowawayMachine) -> None:
    outcome = machine.try_run(f"{PLUGINS}/check_senselock", "-c", "0:")
    assert (outcome.code, outcome.stderr) == (0, b""), outcome.text
    outcome = machine.try_run(f"{PLUGINS}/check_usb_redirector", "--product", "generic", "--process", "no-such-process-here")
    assert outcome.code == 2, outcome.text


def test_kodeks_setup_is_a_command_and_knows_what_the_package_has_put_in_place(machine: ThrowawayMachine) -> None:
    machine.run("sh", "-c", "cp /bin/sleep /usr/sbin/usbipd; usbipd 60 >/dev/null 2>&1 &")  # something to find
    said = machine.try_run("kodeks_setup", "--write", "--license-expires", "perpetual")
    machine.run("rm", "/usr/sbin/usbipd")
    folder, name = AGENT_FOLDERS[0], PARAMETERS
    assert f"{folder}/{name} says what is here now" in said.text.splitlines(), said.text
    for ini in ("/etc/nagios/kodeks.ini", "/etc/zabbix/kodeks.ini", "/etc/icinga2/kodeks.ini"):
        machine.run("rm", ini)
    assert "kodeks_setup - " in machine.run("man", "-P", "cat", "kodeks_setup", env={"MANWIDTH": "200"}).replace("‐", "-")


def test_the_man_page_and_the_completion_are_found(machine: ThrowawayMachine, check: str) -> None:
    assert f"{check} - " in machine.run("man", "-P", "cat", check, env={"MANWIDTH": "200"}).replace("‐", "-")
    complete = f'. /usr/share/bash-completion/bash_completion; _completion_loader {PLUGINS}/{check}; complete -p {check}'
    assert f"_shtab_{check}" in machine.run("bash", "-c", complete + " || complete -p")


# --- Used by the engines --------------------------------------------------------------------------------------

NAGIOS_OBJECTS = f"""\
define command {{
    command_name    packaged_check
    command_line    {PLUGINS}/check_usb_redirector --product generic --license-expires perpetual
}}
define host {{
    use         linux-server
    host_name   packaged
    address     127.0.0.1
}}
define service {{
    use                 generic-service
    host_name           packaged
    service_description Packaged
    check_command       packaged_check
}}
"""


def write(machine: ThrowawayMachine, path: str, text: str) -> None:
    machine.run("sh", "-c", f"cat >{path} <<'END'\n{text}END\n")


def test_nagios_takes_the_templates_and_runs_a_plugin(machine: ThrowawayMachine) -> None:
    read = machine.run("cat", f"/usr/share/doc/{NAME}/README.Debian")
    copied = re.search(r"copy (templates/nagios/\S+) to (/etc/nagios4/conf.d)\b", read)
    assert copied is not None
    machine.run("sh", "-c", f"cp {SHARE}/{copied[1]} {copied[2]}")
    assert "kodeks1" not in machine.run("sh", "-c", f"grep -rh host_name {copied[2]} || true"), "an example's host is alive"
    machine.run("sh", "-c", "echo allow_empty_hostgroup_assignment=1 >>/etc/nagios4/nagios.cfg")
    write(machine, "/etc/nagios4/conf.d/packaged.cfg", NAGIOS_OBJECTS)
    verified = machine.run("nagios4", "-v", "/etc/nagios4/nagios.cfg")
    assert "Total Warnings: 0" in verified and "Total Errors:   0" in verified
    machine.run("install", "-d", "-o", "nagios", "-g", "nagios", "/run/nagios4")
    machine.run("nagios4", "-d", "/etc/nagios4/nagios.cfg")
    pipe, status = "/var/lib/nagios4/rw/nagios.cmd", "/var/lib/nagios4/status.dat"
    await_true("Nagios is up", lambda: machine.try_run("test", "-p", pipe).code == 0, 20)
    machine.run("sh", "-c", f"echo '[{int(time.time())}] SCHEDULE_FORCED_SVC_CHECK;packaged;Packaged;{int(time.time())}' >{pipe}")
    await_true(
        "Nagios has run the plugin",
        lambda: "plugin_output=USB_REDIRECTOR OK - " in machine.try_run("cat", status).text,
        30,
        pause=0.5,
    )


def test_nrpe_answers_with_the_installed_commands(machine: ThrowawayMachine) -> None:
    port = free_port()
    write(machine, "/etc/nagios/nrpe_local.cfg", f"server_port={port}\n")
    machine.run("install", "-d", "-o", "nagios", "-g", "nagios", "/run/nagios")
    machine.run("nrpe", "-c", "/etc/nagios/nrpe.cfg", "-d", env={"KODEKS_LANGUAGE": "ru"})  # NRPE passes no environment on
    ini = "[license]\nproduct = generic\nlicense-expires = perpetual\n"
    write(machine, "/etc/nagios/kodeks.ini", ini)
    asked = [f"{PLUGINS}/check_nrpe", "-H", "127.0.0.1", "-p", str(port), "-c"]
    await_true("NRPE is up", lambda: machine.try_run(*asked[:-1]).code == 0, 20)
    answer = machine.try_run(*asked, "kodeks_license_30days")
    assert (answer.code, answer.text[:28]) == (0, "USB_REDIRECTOR OK - license "), answer.text
    write(machine, "/etc/nagios/kodeks.ini", ini + "language = ru\n")
    answer = machine.try_run(*asked, "kodeks_license_30days")
    assert (answer.code, answer.text[:29]) == (0, "USB_REDIRECTOR OK - лицензия "), answer.text
    # The ini has no other section, and each of the other checks says so.
    for command in ("kodeks_senselock", "kodeks_usb_redirector", "kodeks_xml"):
        answer = machine.try_run(*asked, command)
        assert (answer.code, "--extra-opts: no section" in answer.text) == (3, True), answer.text
    machine.run("rm", "/etc/nagios/kodeks.ini")


def test_the_zabbix_agent_runs_the_user_parameters(machine: ThrowawayMachine) -> None:
    agent = ["setpriv", "--reuid=zabbix", "--regid=zabbix", "--clear-groups", "zabbix_agentd", "-c", "/etc/zabbix/zabbix_agentd.conf"]
    installed, of_agent_2 = (machine.run("cat", f"{folder}/{PARAMETERS}") for folder in AGENT_FOLDERS)
    assert installed == of_agent_2
    keys = re.findall(r"^UserParameter=([\w.]+)\[\*\],", installed, re.M)
    assert len(keys) >= 3
    for key in keys:
        value = machine.run(*agent, "-t", f"{key}[absent,30]")
        assert re.search(r"\[t\|[A-Z_]+ UNKNOWN - --extra-opts: /etc/zabbix/kodeks\.ini cannot be read: No such file", value), value
    write(machine, "/etc/zabbix/kodeks.ini", "[key]\ncritical = 0:\n")
    value = machine.run(*agent, "-t", "kodeks.key[key]")
    assert "[t|SENSELOCK OK - " in value
    machine.run("rm", "/etc/zabbix/kodeks.ini")
    machine.run(*agent, "-p")


# --- Gone again -----------------------------------------------------------------------------------------------


def test_remove_keeps_the_configuration_and_purge_leaves_nothing(machine: ThrowawayMachine) -> None:
    by_hand = {"/etc/nagios4/conf.d", "/etc/nagios/nrpe_local.cfg", f"{AGENT_FOLDERS[0]}/{PARAMETERS}.dpkg-old"}
    machine.run("dpkg", "--remove", NAME)
    kept = {path for path in machine.left_behind() if path.startswith("/etc/") and not path.startswith(tuple(by_hand))}
    # The folder is ours where zabbix-agent2 is not installed.
    assert kept - {"/etc/zabbix/zabbix_agent2.d"} == {"/etc/nagios/nrpe.d/kodeks.cfg", *(f"{folder}/{PARAMETERS}" for folder in AGENT_FOLDERS)}
    machine.run("dpkg", "--purge", NAME)
    left = {path for path in machine.left_behind() if not path.startswith(tuple(by_hand))}
    assert {path for path in left if "kodeks" in path} == set()
    assert {path for path in left if path.startswith(("/etc/", "/usr/", "/opt/", "/lib/"))} == set()
