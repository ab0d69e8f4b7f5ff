"""A newcomer walks through the installation: every command of docs/install.md and of the engines' pages, word for word.

On a throw-away copy of a Debian machine with the engines, one for each engine, from the empty machine to the first alert, an
upgrade and the removal. The newcomer's editor changes what a newcomer must change; there is no systemd, so services are
started by hand where the next command needs them. Addresses of the example are this machine.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from lab.engine_process import await_true, free_port
from lab.kodeks_server import USER
from lab.machine_to_set_up import MachineToSetUp
from lab.markdown import Page
from lab.run_check import ROOT, Outcome
from lab.throwaway_machine import ThrowawayMachine

pytestmark = pytest.mark.xdist_group("seen-everywhere")  # a forwarder's daemon in a container is seen outside, too

QUICK = Page(ROOT / "docs/install.md")
NAGIOS, ICINGA, ZABBIX = (Page(ROOT / f"templates/{engine}/README.md") for engine in ("nagios", "icinga2", "zabbix"))
PASSWORD = "a-password-of-the-lab"
EDITOR = f"""#!/bin/sh
case $1 in
*.password) echo {PASSWORD} >$1 ;;
*.ini) sed -i 's/^password = CHANGE/password = {PASSWORD}/; s/^license-expires = CHANGE/license-expires = perpetual/' $1 ;;
esac
grep -q . $1
"""


class Newcomer:
    """Who follows the page on a machine."""

    def __init__(self, machine: ThrowawayMachine) -> None:
        self.machine = machine
        self.port = free_port()
        self.write("/usr/local/bin/editor", EDITOR)
        machine.run("chmod", "755", "/usr/local/bin/editor")
        machine.without_systemd()

    def write(self, path: str, text: str) -> None:
        """Put a file in its place."""
        self.machine.run("sh", "-c", f"cat >{path} <<'END'\n{text}END\n")

    def types(self, line: str) -> Outcome:
        """One line of the page, in the clone. Only a check may answer with another exit code than 0."""
        words = line.replace("-H 192.0.2.10", f"-H 127.0.0.1 -p {self.port}")
        env = {"PATH": "/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive"}
        outcome = self.machine.try_run("sh", "-c", f"cd {ROOT} && {words}", env=env)
        asked = re.search("check_(senselock|usb_redirector|kodeks_xml)|kodeks_(senselock)", line)
        if asked:
            service = (asked[1] or asked[2]).upper()
            assert re.search(rf"{service} (OK|CRITICAL|UNKNOWN) - ", outcome.text), f"{line}\n{outcome.text}"
        else:
            assert outcome.code == 0, f"{line}\n{outcome.text[-3000:]}\n{outcome.stderr.decode()[-3000:]}"
        return outcome

    def follows(self, block: str) -> str:
        """A code block, line by line; what the last line printed."""
        return [self.types(line) for line in block.splitlines()][-1].text


class Step(NamedTuple):
    """A code block of a page and the section that it is in."""

    section: str
    block: str


def steps(page: Page) -> list[Step]:
    """The commands of a page in their order."""
    sections = re.split(r"^###? (.*)\n", page.text, flags=re.MULTILINE)
    assert "```sh" not in sections[0]
    found = zip(sections[1::2], sections[2::2])
    return [Step(section, block) for section, text in found for block in re.findall(r"^ *```sh\n(.*?)^ *```$", text, re.DOTALL | re.MULTILINE)]


def blocks(page: Page, section: str) -> list[str]:
    """The code blocks of a section."""
    return [step.block for step in steps(page) if step.section == section]


FIRST_ALERT, UPGRADE, REMOVAL = "3. The first alert", "Upgrade", "Removal"
WALKED = {
    QUICK: {"The quick way: kodeks_setup": 3},
    NAGIOS: {"1. On the machine with Kodeks": 1, "2. On the Nagios server": 2, FIRST_ALERT: 2, UPGRADE: 2, REMOVAL: 3},
    ICINGA: {"1. On the machine with Kodeks, and on the master": 2, "2. On the master": 3, FIRST_ALERT: 2, UPGRADE: 2, REMOVAL: 3},
    ZABBIX: {"1. On the machine with Kodeks": 1, FIRST_ALERT: 2, UPGRADE: 1, REMOVAL: 1},
}
"""How many blocks of which section the tests below follow."""


@pytest.mark.parametrize("page", WALKED, ids=repr)
def test_no_step_is_left_out(page: Page) -> None:
    assert Counter(step.section for step in steps(page)) == WALKED[page]
    assert len(steps(page)) == len([fence for fence in page.fences if fence.info])


ALL_STEPS = [pytest.param(step, id=f"{page} {step.section}") for page in WALKED for step in steps(page) if step.section != UPGRADE]


@pytest.mark.parametrize("step", ALL_STEPS)
def test_every_copied_file_with_a_mark_is_opened(step: Step) -> None:
    """Who only follows the commands meets everything that is marked CHANGE."""
    for line in step.block.splitlines():
        words = line.split()
        if words[0] in ("cp", "install") and "templates/" in line:
            for source in ROOT.glob(words[-2]):
                target = words[-1] + (source.name if words[-1].endswith("/") else "")
                marked = re.search(r"\bCHANGE\b", source.read_text(encoding="utf-8"))
                assert not marked or f"editor {target}\n" in step.block, f"{target}: nobody is told to change it"


@pytest.fixture
def newcomer() -> Iterator[Newcomer]:
    """On a machine where nobody has installed anything of this project."""
    with ThrowawayMachine() as machine:
        yield Newcomer(machine)


def nothing_is_left(newcomer: Newcomer) -> None:
    """No file of the project is on the machine any more."""
    left = {path for path in newcomer.machine.left_behind() if "kodeks" in path or path.startswith("/usr/lib/nagios")}
    assert left == set()


@pytest.mark.parametrize(("number", "engine", "most"), [(0, "nrpe", 5), (1, "icinga2", 3), (2, "zabbix-agent", 4)])
def test_the_quick_way(number: int, engine: str, most: int) -> None:
    """The machine of the evening. Nobody sits at its terminal, so the password comes from the environment."""
    block = blocks(QUICK, "The quick way: kodeks_setup")[number]
    commands = block.splitlines()
    assert len(commands) == most and f"--logname {USER}" in block
    with MachineToSetUp([engine]) as machine:
        machine.usb_redirector()
        machine.kodeks()
        machine.machine.without_systemd()
        for line in (line.replace("2027-03-31", "perpetual") for line in commands):  # whatever day it is
            env = {**machine.env, "DEBIAN_FRONTEND": "noninteractive"}
            outcome = machine.machine.try_run("sh", "-c", f"cd {ROOT} && {line}", env=env)
            assert outcome.code == 0, f"{line}\n{outcome.text[-3000:]}\n{outcome.stderr.decode()[-3000:]}"
            if "kodeks_setup" in line:
                assert len(re.findall(r"(?m)^  [A-Z_]+ OK - ", outcome.text)) == 3 and outcome.seconds < 60, outcome.text
        plugins = machine.machine.run("sh", "-c", "ls -d /usr/lib/nagios/plugins/kodeks /usr/local/lib/kodeks 2>/dev/null || true").strip()
        assert machine.machine.run("test", "-x", f"{plugins}/check_senselock.py") == ""


def test_nagios(newcomer: Newcomer) -> None:
    machine = newcomer.machine
    (on_the_kodeks_machine,) = blocks(NAGIOS, "1. On the machine with Kodeks")
    # Whom the agent answers is for the page to say, so not whom Debian's own file names.
    machine.run("sed", "-i", "s/^allowed_hosts=.*/allowed_hosts=192.0.2.99/", "/etc/nagios/nrpe.cfg")
    newcomer.write("/etc/nagios/nrpe_local.cfg", f"server_port={newcomer.port}\n")
    assert newcomer.follows(on_the_kodeks_machine).startswith("SENSELOCK ")
    machine.run("install", "-d", "-o", "nagios", "-g", "nagios", "/run/nagios")
    machine.run("nrpe", "-c", "/etc/nagios/nrpe.cfg", "-d")
    asked = ["/usr/lib/nagios/plugins/check_nrpe", "-H", "127.0.0.1", "-p", str(newcomer.port)]
    await_true("NRPE is up", lambda: machine.try_run(*asked).code == 0, 20)
    for block in blocks(NAGIOS, "2. On the Nagios server"):
        newcomer.follows(block)

    def verified() -> str:
        said = machine.run("nagios4", "-v", "/etc/nagios4/nagios.cfg")
        assert "Total Warnings: 0" in said and "Total Errors:   0" in said
        return said

    assert re.search("Checked 2 hosts", verified()), "localhost and kodeks1"
    expires, again = blocks(NAGIOS, FIRST_ALERT)
    newcomer.follows(expires)
    answer = machine.try_run(*asked, "-c", "kodeks_license_30days")
    assert (answer.code, "expired 1 day ago" in answer.text) == (2, True), answer.text
    newcomer.follows(again)
    answer = machine.try_run(*asked, "-c", "kodeks_license_30days")
    assert "expired" not in answer.text and answer.code in (0, 1), answer.text
    assert machine.run("stat", "-c", "%U %G %a", "/etc/nagios/kodeks.ini") == "root nagios 640\n"
    for block in blocks(NAGIOS, UPGRADE):
        newcomer.follows(block)
    assert "Checked 2 hosts" in verified()
    assert re.search("SENSELOCK (OK|CRITICAL) - ", machine.try_run(*asked, "-c", "kodeks_senselock").text)
    for block in blocks(NAGIOS, REMOVAL):
        newcomer.follows(block)
    assert "Checked 1 host" in verified()
    nothing_is_left(newcomer)


def test_icinga(newcomer: Newcomer) -> None:
    machine = newcomer.machine
    # A master as "icinga2 node wizard" makes it, with one agent.
    machine.run("sed", "-i", 's/^const ZoneName = .*/const ZoneName = "master"/', "/etc/icinga2/constants.conf")
    zone = 'object Endpoint "kodeks1" {}\nobject Zone "kodeks1" { endpoints = [ "kodeks1" ]; parent = "master" }\n'
    machine.run("sh", "-c", f"echo '{zone}' >>/etc/icinga2/zones.conf")
    machine.run("install", "-d", "-o", "nagios", "-g", "nagios", "/run/icinga2")
    for block in blocks(ICINGA, "1. On the machine with Kodeks, and on the master"):
        newcomer.follows(block)
    assert machine.run("stat", "-c", "%U %G %a", "/etc/icinga2/kodeks.password") == "root nagios 640\n"
    for block in blocks(ICINGA, "2. On the master"):
        newcomer.follows(block)
    host = "/etc/icinga2/zones.d/master/kodeks1.conf"

    def unused() -> set[str]:
        """The links that no host has. The configuration is valid."""
        said = machine.run("icinga2", "daemon", "-C")
        assert "Ignoring" not in said
        return set(re.findall(r"Apply rule '(\w+)'.* does not match anywhere", said))

    links = {"SenseLockKeyStatus", "UsbForwarderStatus", "UsbForwarderLicenseExpiring", "KodeksUnreachable"}
    assert unused() & links == set()
    assert "LicmanTcpStatus" in unused(), "the host has no license manager: the pattern above reads what Icinga says"
    true = machine.run("cat", host)
    expires, again = blocks(ICINGA, FIRST_ALERT)
    newcomer.follows(expires)
    yesterday = machine.run("date", "-d", "yesterday", "+%F").strip()
    assert machine.run("cat", host) == true.replace('license_expires = "2027-03-31"', f'license_expires = "{yesterday}"') != true
    assert unused() & links == set()
    newcomer.follows(again)
    assert machine.run("cat", host) == true
    for block in blocks(ICINGA, UPGRADE):
        newcomer.follows(block)
    assert unused() & links == set()
    for block in blocks(ICINGA, REMOVAL):
        newcomer.follows(block)
    assert unused() & links == set(), "the rules are gone, too"
    nothing_is_left(newcomer)


def test_zabbix(newcomer: Newcomer) -> None:
    machine = newcomer.machine
    (on_the_kodeks_machine,) = blocks(ZABBIX, "1. On the machine with Kodeks")
    shown = newcomer.follows(on_the_kodeks_machine)
    assert re.match(r"kodeks\.server\[check_kodeks_xml\] +\[t\|KODEKS_XML [A-Z]+ - ", shown), shown
    agent = ["setpriv", "--reuid=zabbix", "--regid=zabbix", "--clear-groups", "zabbix_agentd", "-t"]
    expires, again = blocks(ZABBIX, FIRST_ALERT)
    newcomer.follows(expires)
    answer = machine.run(*agent, "kodeks.forwarder[check_usb_redirector,30]")
    assert "expired 1 day ago" in answer, answer
    newcomer.follows(again)
    answer = machine.run(*agent, "kodeks.forwarder[check_usb_redirector,30]")
    assert "USB_REDIRECTOR " in answer and "expired" not in answer, answer
    for block in blocks(ZABBIX, UPGRADE):
        newcomer.follows(block)
    assert "SENSELOCK " in machine.run(*agent, "kodeks.key[check_senselock]")
    for block in blocks(ZABBIX, REMOVAL):
        newcomer.follows(block)
    nothing_is_left(newcomer)
