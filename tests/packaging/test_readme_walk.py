"""A newcomer walks through docs/install.md, "Ten minutes to the first alert": every command of that page, word for word.

On a throw-away copy of a Debian machine with the engines, one for each engine. The newcomer's editor changes what a newcomer must change; there is
no systemd, so services are started by hand where the next command needs them. Addresses of the example are this machine.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from lab.engine_process import await_true, free_port
from lab.kodeks_server import USER
from lab.machine_to_set_up import MachineToSetUp
from lab.markdown import Page
from lab.run_check import ROOT, Outcome
from lab.throwaway_machine import ThrowawayMachine

pytestmark = pytest.mark.xdist_group("packaging-readme")

INSTALL = Page(ROOT / "docs/install.md")
QUICK = "The quick way: kodeks_setup"
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
        self.write("/usr/local/bin/systemctl", "#!/bin/sh\n")
        machine.run("chmod", "755", "/usr/local/bin/editor", "/usr/local/bin/systemctl")

    def write(self, path: str, text: str) -> None:
        """Put a file in its place."""
        self.machine.run("sh", "-c", f"cat >{path} <<'END'\n{text}END\n")

    def types(self, line: str) -> Outcome:
        """One line of the page, in the clone. Only a check may answer with another exit code than 0."""
        words = line.replace("-H 192.0.2.10", f"-H 127.0.0.1 -p {self.port}")
        env = {"PATH": "/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive"}
        outcome = self.machine.try_run("sh", "-c", f"cd {ROOT} && {words}", env=env)
        if "check_senselock" in line or "check_nrpe" in line:
            assert re.search(r"SENSELOCK (OK|CRITICAL) - ", outcome.text), f"{line}\n{outcome.text}"
        else:
            assert outcome.code == 0, f"{line}\n{outcome.text[-3000:]}\n{outcome.stderr.decode()[-3000:]}"
        return outcome

    def follows(self, block: str) -> str:
        """A code block, line by line; what the last line printed."""
        return [self.types(line) for line in block.splitlines()][-1].text


class Step(NamedTuple):
    """A code block of the page and the heading above it."""

    heading: str
    block: str


def steps() -> list[Step]:
    """The code blocks of the page in their order."""
    sections = re.split(r"^## (.*)\n", INSTALL.text, flags=re.MULTILINE)
    assert "```" not in sections[0]
    found = zip(sections[1::2], sections[2::2])
    return [Step(heading, block) for heading, text in found for block in re.findall(r"^```sh\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)]


def blocks(heading: str) -> list[str]:
    """The code blocks below a heading of the page."""
    return [step.block for step in steps() if step.heading == heading]


def test_no_step_is_left_out() -> None:
    walked = [QUICK] * 3 + ["Nagios with NRPE"] * 2 + ["Icinga 2 with its agent"] * 3 + ["Zabbix 6.0, 7.0"] + ["The first alert"] * 2
    assert [step.heading for step in steps()] == walked


@pytest.mark.parametrize("step", steps(), ids=lambda step: step.heading)
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


@pytest.mark.parametrize(("number", "engine", "most"), [(0, "nrpe", 5), (1, "icinga2", 3), (2, "zabbix-agent", 4)])
def test_the_quick_way(number: int, engine: str, most: int) -> None:
    """The machine of the evening. Nobody sits at its terminal, so the password comes from the environment."""
    commands = blocks(QUICK)[number].splitlines()
    assert len(commands) == most and f"--logname {USER}" in blocks(QUICK)[number]
    with MachineToSetUp([engine]) as machine:
        machine.usb_redirector()
        machine.kodeks()
        machine.machine.run("sh", "-c", "echo '#!/bin/sh' >/usr/local/bin/systemctl && chmod 755 /usr/local/bin/systemctl")
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
    on_the_kodeks_machine, on_the_server = blocks("Nagios with NRPE")
    # Whom the agent answers is for the page to say, so not whom Debian's own file names.
    machine.run("sed", "-i", "s/^allowed_hosts=.*/allowed_hosts=192.0.2.99/", "/etc/nagios/nrpe.cfg")
    newcomer.write("/etc/nagios/nrpe_local.cfg", f"server_port={newcomer.port}\n")
    assert newcomer.follows(on_the_kodeks_machine).startswith("SENSELOCK ")
    machine.run("install", "-d", "-o", "nagios", "-g", "nagios", "/run/nagios")
    machine.run("nrpe", "-c", "/etc/nagios/nrpe.cfg", "-d")
    asked = ["/usr/lib/nagios/plugins/check_nrpe", "-H", "127.0.0.1", "-p", str(newcomer.port)]
    await_true("NRPE is up", lambda: machine.try_run(*asked).code == 0, 20)
    newcomer.follows(on_the_server)
    verified = machine.run("nagios4", "-v", "/etc/nagios4/nagios.cfg")
    assert "Total Warnings: 0" in verified and "UsbForwarderLicenseExpiring" not in machine.run("cat", "/etc/nagios/kodeks.ini")
    expires, again = blocks("The first alert")
    newcomer.follows(expires)
    answer = machine.try_run(*asked, "-c", "kodeks_license_30days")
    assert (answer.code, "expired 1 day ago" in answer.text) == (2, True), answer.text
    newcomer.follows(again)
    answer = machine.try_run(*asked, "-c", "kodeks_license_30days")
    assert "expired" not in answer.text and answer.code in (0, 1), answer.text
    assert machine.run("stat", "-c", "%U %G %a", "/etc/nagios/kodeks.ini") == "root nagios 640\n"


def test_icinga(newcomer: Newcomer) -> None:
    machine = newcomer.machine
    everywhere, first, then = blocks("Icinga 2 with its agent")
    # A master as "icinga2 node wizard" makes it, with one agent.
    machine.run("sed", "-i", 's/^const ZoneName = .*/const ZoneName = "master"/', "/etc/icinga2/constants.conf")
    zone = 'object Endpoint "kodeks1" {}\nobject Zone "kodeks1" { endpoints = [ "kodeks1" ]; parent = "master" }\n'
    machine.run("sh", "-c", f"echo '{zone}' >>/etc/icinga2/zones.conf")
    machine.run("install", "-d", "-o", "nagios", "-g", "nagios", "/run/icinga2")
    newcomer.follows(everywhere)
    assert machine.run("stat", "-c", "%U %G %a", "/etc/icinga2/kodeks.password") == "root nagios 640\n"
    newcomer.follows(first)
    newcomer.follows(then)
    said = machine.run("icinga2", "daemon", "-C")
    assert "Ignoring" not in said
    unused = set(re.findall(r"Apply rule '(\w+)'.* does not match anywhere", said))
    assert unused & {"SenseLockKeyStatus", "UsbForwarderStatus", "UsbForwarderLicenseExpiring", "KodeksUnreachable"} == set(), said
    assert "LicmanTcpStatus" in unused, "the host has no license manager: the pattern above reads what Icinga says"


def test_zabbix(newcomer: Newcomer) -> None:
    (on_the_kodeks_machine,) = blocks("Zabbix 6.0, 7.0")
    shown = newcomer.follows(on_the_kodeks_machine)
    assert re.match(r"kodeks\.key\[check_senselock\] +\[t\|SENSELOCK (OK|CRITICAL) - ", shown), shown
    expires = blocks("The first alert")[0].replace("/etc/nagios/", "/etc/zabbix/")
    newcomer.follows(expires)
    agent = ["setpriv", "--reuid=zabbix", "--regid=zabbix", "--clear-groups", "zabbix_agentd"]
    answer = newcomer.machine.run(*agent, "-t", "kodeks.forwarder[check_usb_redirector,30]")
    assert "expired 1 day ago" in answer, answer
