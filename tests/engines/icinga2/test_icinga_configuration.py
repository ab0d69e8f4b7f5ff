"""The shipped files themselves: accepted by a stock Debian, with every option described and the minutes that are told."""

from __future__ import annotations

import argparse
import importlib
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab.engine_folders import Folder
from lab.engine_process import SYSTEM_PATH, hand_over, open_folder
from lab.icinga_lab import BINARY, TEMPLATES, identity
from lab.run_check import ROOT

COMMANDS = {
    "kodeks-senselock": ("check_senselock", "senselock_"),
    "kodeks-usb-redirector": ("check_usb_redirector", "usb_redirector_"),
    "kodeks-xml": ("check_kodeks_xml", "kodeks_xml_"),
}
SERVICES = (TEMPLATES / "kodeks-services.conf").read_text()


@pytest.fixture
def site(programs: Folder) -> Iterator[Path]:
    """/etc/icinga2 as Debian ships it, with the project's files in conf.d as README says for a site without agents."""
    folder = open_folder("icinga-site.")
    shutil.copytree(programs.path("/etc/icinga2"), folder / "icinga2")
    for file in TEMPLATES.glob("kodeks-*.conf"):
        shutil.copy(file, folder / "icinga2/conf.d")
    yield folder / "icinga2"
    shutil.rmtree(folder)


def verified(programs: Folder, site: Path) -> str:
    """What `icinga2 daemon -C` says; AssertionError if it finds an error, or warns of more than rules without a host."""
    for part in ("data", "log", "cache", "spool", "run"):
        (site / part).mkdir()
    hand_over(site.parent)
    folders = {"ConfigDir": "", "ZonesDir": "zones.d", "DataDir": "data", "LogDir": "log", "CacheDir": "cache", "SpoolDir": "spool"}
    defined = [f"-D{name}={site / part}" for name, part in (*folders.items(), ("InitRunDir", "run"))]
    command = programs.command(BINARY, "daemon", "-C", "-c", site / "icinga2.conf", *identity(), *defined)
    done = subprocess.run(command, capture_output=True, text=True, env={"PATH": SYSTEM_PATH, "LANG": "C.UTF-8"}, check=False)
    said = done.stdout + done.stderr
    warnings = [line for line in said.splitlines() if "warning/" in line and "does not match anywhere" not in line]
    assert done.returncode == 0 and not warnings, said
    return said


def test_a_stock_debian_takes_the_files_without_a_host(programs: Folder, site: Path) -> None:
    said = verified(programs, site)
    assert "Apply rule 'SenseLockKeyStatus'" in said  # it was read, and matched no host


def test_a_stock_debian_takes_the_example_host_as_it_is(programs: Folder, site: Path) -> None:
    """But for the agent, whose endpoint is the site's own."""
    text = (TEMPLATES / "host.conf.example").read_text()
    without_agent, count = re.subn(r'(?m)^    agent = "kodeks1".*\n', "", text)
    assert count == 1
    (site / "conf.d/kodeks1.conf").write_text(without_agent)
    said = verified(programs, site)
    unused = set(re.findall(r"Apply rule '([\w ]+)'", said))
    assert unused == {"LicmanTcpStatus", "KodeksXmlSensLockStatus", "SmartXMLfileIsToOld"}  # the second: that of a report


def test_a_stock_debian_takes_the_commented_hosts(programs: Folder, site: Path) -> None:
    """A license manager on another machine; of the agents only the names are taken away."""
    text = (TEMPLATES / "host.conf.example").read_text().partition("two hosts.\n")[2]
    lines = [line.removeprefix(" *") for line in text.splitlines() if line.startswith(" * ")]
    (site / "conf.d/hosts.conf").write_text("\n".join(line for line in lines if "agent = " not in line))
    said = verified(programs, site)
    assert "'LicmanTcpStatus'" not in said and "'SenseLockKeyStatus'" not in said


def test_a_stock_debian_takes_the_example_of_the_forwarders_log(programs: Folder, site: Path) -> None:
    """Icinga's own library has the command; a misspelt variable of it would be no error, so they are looked up there."""
    shown = re.search(r'(?m)^apply Service "UsbForwarderLog" \{\n(?:.+\n)+\}\n', (TEMPLATES / "README.md").read_text())
    assert shown is not None
    host = 'object Host "kodeks1" {\n  import "generic-host"\n  vars.forwarder_log = "/var/log/forwarder.log"\n}\n'
    (site / "conf.d/log.conf").write_text(host + shown[0])
    assert "'UsbForwarderLog'" not in verified(programs, site)
    library = programs.path("/usr/share/icinga2/include/plugins-contrib.d/logmanagement.conf").read_text()
    for variable in re.findall(r"vars\.(logfiles_\w+) = ", shown[0]):
        assert f'"${variable}$"' in library, variable


def test_the_example_host_marks_what_the_ini_of_nagios_marks() -> None:
    """Both describe the same machine; the license manager's are in another example."""
    ini = (ROOT / "templates/nagios/nrpe/kodeks.ini.example").read_text()
    marked = {
        (section, option.replace("-", "_"))
        for section, body in re.findall(r"(?m)^\[(\w+)\]\n((?:.+\n)*)", ini)
        for option in re.findall(r"(?m)^#.*\bCHANGE\b.*\n(?:#.*\n)*(?:hostname = 127.*\n)?([\w-]+) = ", body)
    }
    assert len(marked) == 10, marked
    example = (TEMPLATES / "host.conf.example").read_text().partition("\n}\n")[0]
    for section, option in marked - {("license_manager", "hostname")}:
        assert re.search(rf"(?m)^.*\b{option} = .* /\* CHANGE\b", example), f"{section} {option}"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_of_a_check_is_an_argument_with_a_description(name: str) -> None:
    module, prefix = COMMANDS[name]
    parser: argparse.ArgumentParser = importlib.import_module(module).options()
    options = {action.option_strings[-1]: action for action in parser._actions}
    for own in ("--help", "--version", "--outline"):  # what only people ask for
        options.pop(own, None)
    body = (TEMPLATES / "kodeks-commands.conf").read_text().partition(f'object CheckCommand "{name}" {{')[2].partition("\n}\n")[0]
    arguments = dict(re.findall(r'(?m)^    "(--[\w-]+)" = \{\n(.*?)\n    \}', body, re.S))
    assert set(arguments) == set(options)
    for option, rows in arguments.items():
        variable = "$kodeks_language$" if option == "--language" else f"${prefix}{option[2:].replace('-', '_')}$"
        takes_value = options[option].nargs != 0
        assert f'{"value" if takes_value else "set_if"} = "{variable}"' in rows, option
        repeatable = isinstance(options[option], argparse._AppendAction)
        assert ("repeat_key = true" in rows) == repeatable, option
        assert re.search(r'description = "\S.{10,}"', rows), option


def block(service: str) -> str:
    """The definition of a service in kodeks-services.conf."""
    return SERVICES.partition(f'apply Service "{service}" {{')[2].partition("\n}\n")[0]


def number(body: str, name: str) -> float:
    """A number of a service's definition, or else of the template of all links; intervals are in minutes."""
    template = (TEMPLATES / "kodeks-templates.conf").read_text().partition('template Service "kodeks-link" {')[2].partition("\n}\n")[0]
    for text in (body, template):
        found = re.search(rf"(?m)^  {name} = (?:([\d.]+) \* )?KodeksMinute$|^  {name} = (\d+)(?: +/\*|$)", text)
        if found:
            return float(found[1] or found[2] or 1)
    raise AssertionError(f"no {name} in {body}")


def minutes(service: str) -> tuple[int, float, float]:
    """Tries of a service, and the minutes from a fault to the message: earliest and latest."""
    body = block(service)
    tries = int(number(body, "max_check_attempts"))
    earliest = (tries - 1) * number(body, "retry_interval")
    return tries, earliest, earliest + number(body, "check_interval")


def test_the_minutes_are_those_of_nagios() -> None:
    """Both folders have one table, in templates/nagios/README.md; a stored report has KodeksXmlSensLockStatus of its own."""
    rows = re.findall(r"(?m)^\| (\w+) \| .* \| (\d) \| (\d+)-(\d+)", (ROOT / "templates/nagios/README.md").read_text())
    assert len(rows) == 9
    for service, tries, earliest, latest in rows:
        if service != "KodeksUnreachable":
            assert minutes(service) == (int(tries), float(earliest), float(latest)), service


def test_kodeks_unreachable_looks_at_the_answers_of_its_neighbour() -> None:
    """It has its own minutes, which its README tells: its tries see three answers, also if each takes its 20 seconds."""
    question = number(block("KodeksXmlSensLockStatus"), "check_interval")
    retry = number(block("KodeksXmlSensLockStatus"), "retry_interval")
    _, earliest, latest = minutes("KodeksUnreachable")
    assert earliest >= 2 * (retry + 1 / 3)
    told = re.search(r"KodeksUnreachable\s+(\d+)-(\d+) min", (TEMPLATES / "kodeks-templates.conf").read_text())
    also_told = re.search(r"KodeksUnreachable\s+speaks\s+after\s+(\d+)\s+to\s+(\d+)\s+minutes", (TEMPLATES / "README.md").read_text())
    assert told and also_told
    assert told.groups() == also_told.groups() == (f"{earliest:g}", f"{latest + question:g}")


def test_an_earlier_link_is_known_before_a_later_one_may_speak() -> None:
    """One sample of the earlier link, and half a minute of "Before ...", fit into the tries of the later one."""
    before = dict(re.findall(r'apply Service "Before (\w+)" \{.*?vars\.kodeks_links = \[ (.*?) \]', SERVICES, re.S))
    before["KodeksUnreachable"] = before["KodeksXmlSensLockStatus"]  # see kodeks-dependencies.conf
    for later, links in before.items():
        for earlier in re.findall(r'"(\w+)"', links):
            tries, earliest, latest = minutes(earlier)
            first_sample = latest - earliest
            assert first_sample + 0.5 < minutes(later)[1], (earlier, later)


def test_every_service_links_to_a_page_in_both_languages() -> None:
    pages = re.findall(r'notes_url = KodeksRunbooks \+ "/(\w+\.md)"', SERVICES)
    assert len(pages) == 10
    for page in pages:
        for language in ("en", "ru"):
            assert (ROOT / "templates/runbooks" / language / page).is_file(), f"{language}/{page}"
