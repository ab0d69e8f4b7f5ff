"""kodeks_setup on machines that it has never seen: what it finds, what it writes, what the checks say by that, and what it leaves alone."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterator

import pytest
from kodeks_monitoring.contract.private_files import parse_ini
from lab import reports
from lab.forwarder_tools import sample, talking_port
from lab.kodeks_server import PASSWORD, USER
from lab.machine_to_set_up import MachineToSetUp
from lab.run_check import ROOT, Outcome

pytestmark = pytest.mark.xdist_group("seen-everywhere")  # a forwarder's daemon in a container is seen outside, too

OK, WARNING, CRITICAL, UNKNOWN = range(4)
ZABBIX_INI = "/etc/zabbix/kodeks.ini"
ANSWERS = ("--license-expires", "perpetual", "--logname", USER)


def section(text: str, name: str) -> dict[str, str | None]:
    """A section of an ini, as the checks read it."""
    found = parse_ini(text, name)
    assert found is not None, f"no [{name}] in\n{text}"
    return dict(found)


def states(outcome: Outcome) -> dict[str, str]:
    """The state of each check that was run."""
    return dict(re.findall(r"(?m)^  (SENSELOCK|USB_REDIRECTOR|KODEKS_XML) (OK|WARNING|CRITICAL|UNKNOWN) - ", outcome.text))


def preview(outcome: Outcome, name: str) -> dict[str, str]:
    """A section of the ini that it shows and does not write."""
    return dict(re.findall(r"(?m)^  ([\w-]+) = (.*)$", outcome.text.partition(f"[{name}]")[2].partition("[")[0]))


ALL_WELL = {"SENSELOCK": "OK", "USB_REDIRECTOR": "OK", "KODEKS_XML": "OK"}


@pytest.fixture
def evening() -> Iterator[MachineToSetUp]:
    """The machine of the evening: a forwarded key, its forwarder, Kodeks, and a Zabbix agent."""
    with MachineToSetUp() as machine:
        machine.usb_redirector()
        machine.kodeks()
        yield machine


# --- The evening ----------------------------------------------------------------------------------------------


def test_it_finds_the_whole_chain_and_writes_nothing(evening: MachineToSetUp) -> None:
    outcome = evening.set_up(*ANSWERS)
    assert outcome.code == UNKNOWN, "no check was run"
    for line in (
        f"Key 0471:485d at {evening.key}, forwarded over USB Redirector (driver tusb-vhci-driver)",
        f"Forwarder USB Redirector, by program {evening.folder}/usbclnt, process usbsrvd. key 0471:485d is attached here",
        f"Kodeks at 127.0.0.1:{evening.port}, by kodwebd (root): asks for a login",
        "Engine Zabbix agent, by /etc/zabbix/zabbix_agentd.conf; its user is zabbix",
        "Not found here: -",
        f"{ZABBIX_INI} would be (--write writes it):",
    ):
        assert line in outcome.text.splitlines(), f"{line}\n{outcome.text}"
    assert PASSWORD not in outcome.text and "password = ***" in outcome.text
    assert evening.machine.left_behind() & {ZABBIX_INI, "/etc/zabbix/zabbix_agentd.conf.d/userparameter_kodeks_linux.conf"} == set()
    assert evening.bus.opened_nodes() == []


def test_what_it_writes_makes_every_check_ok_and_each_broken_link_alarms(evening: MachineToSetUp) -> None:
    outcome = evening.set_up(*ANSWERS, "--write")
    assert (outcome.code, states(outcome)) == (OK, ALL_WELL), outcome.text
    assert evening.machine.run("stat", "-c", "%U %G %a", ZABBIX_INI) == "root zabbix 640\n"
    text = evening.read(ZABBIX_INI)
    assert "CHANGE" not in text.partition("\n")[2]
    assert section(text, "check_senselock") == {"critical": "1:", "location": "forwarded"}
    assert section(text, "check_usb_redirector") == {
        "product": "usb-redirector", "license-expires": "perpetual", "side": "client", "list-command": f"{evening.folder}/usbclnt -list",
        "device": "0471:485d", "process": "usbsrvd", "hostname": "127.0.0.1", "port": str(evening.far_port),
    }  # fmt: skip
    assert section(text, "check_kodeks_xml") == {"hostname": "127.0.0.1", "port": str(evening.port), "logname": USER, "password": PASSWORD}

    evening.lists("not-available")
    assert evening.set_up().code == CRITICAL
    evening.lists("connected")
    evening.end(evening.daemon)
    assert states(evening.set_up())["USB_REDIRECTOR"] == "CRITICAL", "its process is gone"
    evening.daemon = evening.runs("usbsrvd")
    assert states(evening.set_up()) == ALL_WELL
    evening.kodeks_state(evening.port, binding=reports.NOT_FOUND)
    assert states(evening.set_up()) == {**ALL_WELL, "KODEKS_XML": "CRITICAL"}
    evening.kodeks_state(evening.port)
    evening.bus.remove(evening.key)
    assert states(evening.set_up())["SENSELOCK"] == "CRITICAL"


def test_a_second_run_says_what_has_changed(evening: MachineToSetUp) -> None:
    evening.set_up(*ANSWERS, "--write")
    before = evening.read(ZABBIX_INI)
    again = evening.set_up()
    assert f"{ZABBIX_INI} says what is here now" in again.text and again.code == OK
    evening.bus.remove(evening.key)
    evening.bus.add_key(port="1-2")
    again = evening.set_up("--write")
    changes = [line[2:] for line in again.text.splitlines() if re.match(r"  [+-] ", line)]
    assert {"- location = forwarded", "+ location = local", f"- check_senselock {evening.key} = 0471:485d forwarded USB Redirector",
            "+ check_senselock 1-2 = 0471:485d local"} <= set(changes)  # fmt: skip
    assert evening.read(ZABBIX_INI) == before and PASSWORD not in again.text
    assert states(again)["SENSELOCK"] == "CRITICAL", "the old ini is what is tried"


def test_in_russian_the_ini_is_the_same(evening: MachineToSetUp) -> None:
    evening.set_up(*ANSWERS, "--write")
    again = evening.set_up("--language", "ru")
    assert again.code == OK
    assert not [line for line in again.text.splitlines() if re.match(r"  [+-] ", line)]
    assert "Ключ 0471:485d" in again.text and re.search("(?m)^  KODEKS_XML OK - ключ ", again.text), again.text


def test_a_copy_without_templates_writes_the_ini_alone(evening: MachineToSetUp) -> None:
    """As pip installs it, where no file is executable either."""
    evening.machine.run("cp", "-r", str(ROOT / "checks"), "/opt/checks")
    evening.machine.run("sh", "-c", "chmod 644 /opt/checks/*.py")
    outcome = evening.set_up(*ANSWERS, "--write", checks="/opt/checks")
    assert (outcome.code, states(outcome)) == (OK, ALL_WELL), outcome.text
    assert "/opt/templates/zabbix/userparameter_kodeks_linux.conf is not here" in outcome.text


def test_an_unanswered_place_is_never_ok(evening: MachineToSetUp) -> None:
    outcome = evening.set_up("--write", env={"KODEKS_PASSWORD": ""})
    assert outcome.code == UNKNOWN
    assert states(outcome) == {"SENSELOCK": "OK", "USB_REDIRECTOR": "UNKNOWN", "KODEKS_XML": "UNKNOWN"}
    text = evening.read(ZABBIX_INI)
    assert (section(text, "check_usb_redirector")["license-expires"], section(text, "check_kodeks_xml")["password"]) == ("CHANGE", "CHANGE")


def test_a_person_is_asked_for_what_nobody_can_find_out(evening: MachineToSetUp) -> None:
    answers = {"Last day of the forwarder's license": "perpetual", "An account of Kodeks": USER, "Its password": PASSWORD}
    shown = evening.set_up_at_a_terminal(answers, "--write")
    assert PASSWORD not in shown
    text = evening.read(ZABBIX_INI)
    assert (section(text, "check_usb_redirector")["license-expires"], section(text, "check_kodeks_xml")["logname"]) == ("perpetual", USER)
    assert section(text, "check_kodeks_xml")["password"] == PASSWORD
    assert states(evening.set_up(env={"KODEKS_PASSWORD": ""})) == ALL_WELL, "what is answered once is not asked again"


# --- Files ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("engine", "ini", "group", "commands"),
    [
        pytest.param("zabbix-agent", ZABBIX_INI, "zabbix", "/etc/zabbix/zabbix_agentd.conf.d/userparameter_kodeks_linux.conf", id="Zabbix agent"),
        pytest.param("zabbix-agent2", ZABBIX_INI, "zabbix", "/etc/zabbix/zabbix_agent2.d/userparameter_kodeks_linux.conf", id="Zabbix agent 2"),
        pytest.param("nrpe", "/etc/nagios/kodeks.ini", "nagios", "/etc/nagios/nrpe.d/kodeks.cfg", id="NRPE"),
        pytest.param("icinga2", "/etc/icinga2/kodeks.ini", "nagios", "", id="Icinga"),
    ],
)
def test_each_engine_gets_its_files(engine: str, ini: str, group: str, commands: str) -> None:
    with MachineToSetUp([engine]) as machine:
        machine.usb_redirector()
        machine.kodeks()
        before = machine.machine.left_behind()
        outcome = machine.set_up(*ANSWERS, "--write")
        assert (outcome.code, states(outcome)) == (OK, ALL_WELL), outcome.text
        assert machine.machine.run("stat", "-c", "%U %G %a", ini) == f"root {group} 640\n"
        written = {path for path in machine.machine.left_behind() - before if "__pycache__" not in path}
        assert written == {path for path in (ini, commands) if path}
        if commands:
            assert machine.machine.run("stat", "-c", "%U %a", commands) == "root 644\n"


def test_one_of_several_engines_is_chosen() -> None:
    with MachineToSetUp(["nrpe", "zabbix-agent", "zabbix-agent2"]) as machine:
        machine.bus.add_key()
        before = machine.machine.left_behind()
        outcome = machine.set_up("--write", "--engine", "zabbix agent 2")
        written = {path for path in machine.machine.left_behind() - before if "__pycache__" not in path}
        assert written == {ZABBIX_INI, "/etc/zabbix/zabbix_agent2.d/userparameter_kodeks_linux.conf"}
        assert re.findall("(?m)^Engine ([^,]*),", outcome.text) == ["Zabbix agent 2"]


def a_symlink(machine: MachineToSetUp) -> None:
    machine.machine.run("ln", "-s", "/etc/shadow", ZABBIX_INI)


def a_dangling_symlink(machine: MachineToSetUp) -> None:
    machine.machine.run("ln", "-s", "/etc/nothing-is-here", ZABBIX_INI)


def a_fifo(machine: MachineToSetUp) -> None:
    machine.machine.run("mkfifo", ZABBIX_INI)


@pytest.mark.parametrize("obstacle", [a_symlink, a_dangling_symlink, a_fifo], ids=lambda obstacle: obstacle.__name__)
def test_what_stands_in_the_way_stays(obstacle: Callable[[MachineToSetUp], None]) -> None:
    with MachineToSetUp() as machine:
        obstacle(machine)
        before = machine.machine.run("stat", "-c", "%F %i", ZABBIX_INI)
        outcome = machine.set_up("--write")
        assert (outcome.code, outcome.text.splitlines()[-1][:25]) == (UNKNOWN, "KODEKS_SETUP UNKNOWN - ko" if obstacle is a_fifo else f"KODEKS_SETUP UNKNOWN - {ZABBIX_INI}"[:25])
        assert machine.machine.run("stat", "-c", "%F %i", ZABBIX_INI) == before
        assert "root:" not in outcome.text and machine.machine.try_run("test", "-e", "/etc/nothing-is-here").code == 1


def test_a_write_that_fails_leaves_no_half_file(evening: MachineToSetUp) -> None:
    outcome = evening.set_up(*ANSWERS, "--write", limit="--fsize=100")
    last = f"KODEKS_SETUP UNKNOWN - {ZABBIX_INI} cannot be written: File too large; run this as root"
    assert (outcome.code, outcome.text.splitlines()[-1]) == (UNKNOWN, last)
    assert ZABBIX_INI not in evening.machine.left_behind()


def test_another_place(evening: MachineToSetUp) -> None:
    place = f"{evening.folder}/mine.ini"
    outcome = evening.set_up(*ANSWERS, f"--write={place}")
    assert (outcome.code, states(outcome)) == (OK, ALL_WELL)
    assert evening.machine.left_behind() & {ZABBIX_INI, "/etc/zabbix/zabbix_agentd.conf.d/userparameter_kodeks_linux.conf"} == set()


def test_a_command_that_is_defined_already_is_not_defined_twice(evening: MachineToSetUp) -> None:
    other = "/etc/zabbix/zabbix_agentd.conf.d/mine.conf"
    evening.machine.run("sh", "-c", f"echo 'UserParameter=kodeks.forwarder[*],true' >{other}")
    outcome = evening.set_up(*ANSWERS, "--write")
    assert f"{other} stays; what it says (-), and what is here now (+):" in outcome.text
    assert evening.machine.run("ls", "/etc/zabbix/zabbix_agentd.conf.d") == "mine.conf\n"


def paste_other_side(machine: MachineToSetUp) -> None:
    """Paste what it prints last, what is to do on the monitoring server, into a shell there: the same machine, without systemd."""
    machine.machine.without_systemd()
    printed = machine.set_up(*ANSWERS, "--write").text.rpartition("On the monitoring server (")[2].partition("\n")[2]
    machine.machine.run("sh", "-e", "-c", printed, env={"PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"})


def test_nagios_takes_the_host_that_it_prints() -> None:
    with MachineToSetUp(["nrpe"]) as machine:
        machine.usb_redirector()
        machine.kodeks()
        machine.machine.run("sh", "-c", f"cp {ROOT}/templates/nagios/kodeks-*.cfg /etc/nagios4/conf.d")
        machine.machine.run("sh", "-c", "echo allow_empty_hostgroup_assignment=1 >>/etc/nagios4/nagios.cfg")
        paste_other_side(machine)
        verified = machine.machine.run("nagios4", "-v", "/etc/nagios4/nagios.cfg")
        assert "Checked 2 hosts" in verified and "Total Warnings: 0" in verified and "Total Errors:   0" in verified


def test_icinga_takes_the_host_that_it_prints() -> None:
    with MachineToSetUp(["icinga2"]) as machine:
        machine.usb_redirector()
        machine.kodeks()
        name = machine.machine.run("hostname").strip()
        zone = f'object Endpoint "{name}" {{}}\nobject Zone "{name}" {{ endpoints = [ "{name}" ]; parent = "master" }}\n'
        machine.machine.run("sh", "-c", f"echo '{zone}' >>/etc/icinga2/zones.conf")
        machine.machine.run("sed", "-i", 's/^const ZoneName = .*/const ZoneName = "master"/', "/etc/icinga2/constants.conf")
        machine.machine.run("sh", "-c", "echo 'const NodeName = \"the-master\"' >>/etc/icinga2/constants.conf")
        zones = "/etc/icinga2/zones.d"
        machine.machine.run("mkdir", "-p", f"{zones}/global-templates", f"{zones}/master")
        machine.machine.run("sh", "-c", f"cp {ROOT}/templates/icinga2/kodeks-*.conf {zones}/master")
        machine.machine.run("mv", f"{zones}/master/kodeks-commands.conf", f"{zones}/global-templates")
        machine.machine.run("install", "-d", "-o", "nagios", "-g", "nagios", "/run/icinga2")
        paste_other_side(machine)
        said = machine.machine.run("icinga2", "daemon", "-C")
        unused = set(re.findall(r"Apply rule '(\w+)'.* does not match anywhere", said))
        assert not unused & {"SenseLockKeyStatus", "UsbForwarderStatus", "UsbForwarderLicenseExpiring", "KodeksUnreachable"}, said


# --- Other machines -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("engines", "missing"), [([], "key, forwarder, Kodeks, engine"), (["nrpe"], "key, forwarder, Kodeks")])
def test_a_machine_with_nothing(engines: list[str], missing: str) -> None:
    with MachineToSetUp(engines) as machine:
        outcome = machine.set_up()
        assert (outcome.code, outcome.text.splitlines()[-1]) == (UNKNOWN, f"Not found here: {missing}")


def test_an_ini_made_in_russian_speaks_russian_and_stays_so() -> None:
    with MachineToSetUp() as machine:
        machine.bus.add_key()
        machine.set_up("--language", "ru", "--write")
        assert section(machine.read(ZABBIX_INI), "check_senselock")["language"] == "ru"
        assert not re.search(r"(?m)^  [+-] ", machine.set_up().text)


def test_two_instances_of_kodeks_and_what_only_calls_itself_so() -> None:
    with MachineToSetUp() as machine, talking_port(b"HTTP/1.0 200 OK\r\n\r\nhello") as elsewhere:
        machine.bus.add_key()
        first, second = sorted((machine.kodeks(license_manager="open"), machine.kodeks("b-kodwebd")))
        outcome = machine.set_up(*ANSWERS, "--write")
        assert (outcome.code, states(outcome)["KODEKS_XML"]) == (OK, "OK"), outcome.text
        text = machine.read(ZABBIX_INI)
        assert {section(text, "check_kodeks_xml")["port"], *(port for port in map(str, (first, second)) if f"[check_kodeks_xml.{port}]" in text)} == {str(first), str(second)}
        assert str(elsewhere) not in outcome.text


def test_the_monitor_in_front_of_kodeks_is_known_by_its_folder() -> None:
    with MachineToSetUp() as machine:
        machine.bus.add_key()
        machine.kodeks("node", folder="opt/kodeks/intranet")
        assert f"Kodeks at 127.0.0.1:{machine.port}, by node (root): asks for a login" in machine.set_up().text


def test_a_license_manager_is_known_by_its_port_and_no_key_is_missed_then() -> None:
    with MachineToSetUp(["nrpe"]) as machine, socket.create_server(("127.0.0.88", 8888)):
        machine.kodeks(asks="127.0.0.88")
        outcome = machine.set_up(*ANSWERS, "--write")
        assert (outcome.code, states(outcome)) == (OK, {"KODEKS_XML": "OK"}), outcome.text
        text = machine.read("/etc/nagios/kodeks.ini")
        assert section(text, "license_manager") == {"hostname": "127.0.0.88", "port": "8888"} and "[check_senselock]" not in text
        assert "use        kodeks-license-manager-key,linux-server" in outcome.text


def test_kodeks_without_a_key_is_no_ok() -> None:
    with MachineToSetUp() as machine:
        machine.kodeks()
        outcome = machine.set_up(*ANSWERS, "--write")
        assert (outcome.code, states(outcome)) == (CRITICAL, {"SENSELOCK": "CRITICAL", "KODEKS_XML": "OK"}), outcome.text


def test_a_page_without_login_asks_for_no_account() -> None:
    with MachineToSetUp() as machine:
        machine.bus.add_key()
        machine.kodeks(to_all=True)
        outcome = machine.set_up("--write", env={"KODEKS_PASSWORD": ""})
        assert (outcome.code, states(outcome)) == (OK, {"SENSELOCK": "OK", "KODEKS_XML": "OK"}), outcome.text
        assert section(machine.read(ZABBIX_INI), "check_kodeks_xml") == {"hostname": "127.0.0.1", "port": str(machine.port)}


def test_a_local_key_needs_no_forwarder() -> None:
    with MachineToSetUp(["nrpe"]) as machine:
        machine.bus.add_key()
        machine.kodeks()
        outcome = machine.set_up(*ANSWERS, "--write")
        assert (outcome.code, states(outcome)) == (OK, {"SENSELOCK": "OK", "KODEKS_XML": "OK"}), outcome.text
        assert "use        kodeks-local-key,linux-server" in outcome.text
        assert section(machine.read("/etc/nagios/kodeks.ini"), "check_senselock")["location"] == "local"


def test_an_ordinary_user_is_told_what_he_may_not_see(evening: MachineToSetUp) -> None:
    outcome = evening.set_up(user="nobody")
    assert outcome.code == UNKNOWN
    assert f"Key 0471:485d at {evening.key}, forwarded over USB Redirector (driver tusb-vhci-driver)" in outcome.text
    assert "no port of it can be seen: run this as root" in outcome.text and "port = CHANGE" in outcome.text
    refused = evening.set_up("--write", user="nobody")
    assert (refused.code, refused.text.splitlines()[-1]) == (
        UNKNOWN, f"KODEKS_SETUP UNKNOWN - {ZABBIX_INI} cannot be written: Permission denied; run this as root")  # fmt: skip


def test_without_psutil(evening: MachineToSetUp) -> None:
    evening.machine.run("rm", "-r", "/usr/lib/python3/dist-packages/psutil")
    outcome = evening.set_up()
    assert (outcome.code, outcome.text.startswith("KODEKS_SETUP UNKNOWN - the Python library psutil is missing: ")) == (UNKNOWN, True)


# --- Every forwarder ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("product", "tool", "listing", "options"),
    [
        pytest.param("usb-redirector", "usbsrv", "usbsrv-list-key-shared-constructed.txt", {"side": "server", "device": "0471:485d"}, id="USB Redirector, server"),
        pytest.param("virtualhere", "vhclientx86_64", "virtualhere-list-key-own-use-constructed.txt",
                     {"side": "client", "device": "Senselock SenseIV", "hostname": "LICENSEHUB", "port": "7575"}, id="VirtualHere"),
        pytest.param("digi-anywhereusb", "awusbmanager-headless", "digi-awusbmanager-list.txt", {"side": "client", "device": "CHANGE"}, id="Digi, without a key"),
        pytest.param("usb-network-gate", "eveusbc", "usb-network-gate-ls-net.txt", {"device": "CHANGE"}, id="USB Network Gate"),
        pytest.param("distkontrol", "dkclientx86_64", "distkontrol-list-users.txt", {"side": "client"}, id="DistKontrolUSB"),
    ],
)
def test_a_forwarders_tool(product: str, tool: str, listing: str, options: dict[str, str]) -> None:
    with MachineToSetUp() as machine:
        machine.bus.add_key()
        machine.tools.prints(tool, sample(listing))
        outcome = machine.set_up()
        assert preview(outcome, "check_usb_redirector").items() >= {"product": product, **options}.items(), outcome.text


@pytest.mark.parametrize(
    ("product", "process", "side"),
    [
        pytest.param("usb-over-network", "ftusbnetd", "server", id="USB over Network"),
        pytest.param("usbip", "usbipd", "server", id="usbipd"),
        pytest.param("virtualhere", "vhusbdx86_64", "server", id="VirtualHere's server"),
    ],
)
def test_a_forwarders_process(product: str, process: str, side: str) -> None:
    with MachineToSetUp() as machine:
        machine.runs(process)
        outcome = machine.set_up()
        assert preview(outcome, "check_usb_redirector").items() >= {"product": product, "process": process, "side": side}.items(), outcome.text


def test_usbip_is_known_by_the_kernel() -> None:
    with MachineToSetUp() as machine:
        machine.bus.load_vhci(1)
        machine.bus.add_key(where="usbip", remote="192.0.2.20 3240 1-1")
        outcome = machine.set_up()
        assert preview(outcome, "check_usb_redirector").items() >= {"product": "usbip", "side": "client", "device": "0471:485d", "license-expires": "perpetual"}.items(), outcome.text


# --- Hostile --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tool", ["floods", "dribbles", "hangs", "dies", "not_a_program"])
def test_a_list_tool_that_goes_wrong(evening: MachineToSetUp, tool: str) -> None:
    getattr(evening.tools, tool)("usbclnt")
    outcome = evening.set_up(*ANSWERS)
    assert outcome.code == UNKNOWN and outcome.seconds < 60
    assert "device = CHANGE" in outcome.text and "Not found here: -" in outcome.text


@pytest.mark.parametrize("name", ["x | y", "usbsrvd\nkodwebd", "[check_senselock]", "usbsrvd; id", "\x1b[31mkodwebd"])
def test_a_process_with_a_hostile_name(name: str) -> None:
    with MachineToSetUp([]) as machine:
        machine.runs(name)
        outcome = machine.set_up()
        assert "Not found here: key, forwarder, Kodeks, engine" in outcome.text.splitlines(), outcome.text


def test_a_hostile_name_in_a_list(evening: MachineToSetUp) -> None:
    names = b"   --> Senselock\x1b[31m (x) | [check_kodeks_xml]\r (LICENSEHUB.21) (In-use by you)"
    text = sample("virtualhere-list-key-own-use-constructed.txt").replace(b"   --> Senselock SenseIV (LICENSEHUB.21) (In-use by you)", names)
    evening.tools.prints("vhclientx86_64", text)
    evening.tools.prints("usbclnt", b"")
    outcome = evening.set_up(*ANSWERS, "--write")
    assert "\x1b" not in outcome.text
    assert "\x1b" not in evening.read(ZABBIX_INI)
    assert states(outcome)["USB_REDIRECTOR"] != "OK"


def test_a_password_that_an_ini_cannot_hold_is_not_answered(evening: MachineToSetUp) -> None:
    outcome = evening.set_up(*ANSWERS, "--write", env={"KODEKS_PASSWORD": " blanks around "})
    assert section(evening.read(ZABBIX_INI), "check_kodeks_xml")["password"] == "CHANGE"
    assert states(outcome)["KODEKS_XML"] == "UNKNOWN"
