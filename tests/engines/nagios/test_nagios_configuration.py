"""The shipped files themselves: accepted by a stock Debian, in the right order, with pages and options that exist."""

from __future__ import annotations

import importlib
import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab.engine_folders import folder_of
from lab.engine_process import AS_ENGINE, SYSTEM_PATH, hand_over, open_folder
from lab.nagios_lab import TEMPLATES, Resolved, resolved, stock, verified
from lab.nrpe_lab import shipped_commands
from lab.run_check import ROOT, run_process

LAYOUTS = re.findall(r"hostgroup_name +(\S+)\n    alias", (TEMPLATES / "kodeks-services.cfg").read_text())
COMMANDS = shipped_commands()
PROGRAMS = folder_of("nagios")
NO_LINKS = {"MonitoringBroken", "UsbForwarderLicenseExpiring7day"}
EXAMPLE_INI = TEMPLATES / "nrpe/kodeks.ini.example"


@pytest.fixture(scope="module")
def site() -> Iterator[Path]:
    """/etc/nagios4 as Debian ships it, with the project's files where README says, and the one line it asks for.

    Returns the folder of the main file; the site's own objects go to its conf.d.
    """
    folder = open_folder("nagios-site.")
    main = stock(PROGRAMS).replace("allow_empty_hostgroup_assignment=0", "allow_empty_hostgroup_assignment=1")
    assert "allow_empty_hostgroup_assignment=1" in main
    (folder / "conf.d").mkdir()
    for file in TEMPLATES.glob("kodeks-*.cfg"):
        shutil.copy(file, folder / "conf.d")
    main = re.sub(r"(?m)^precached_object_file=.*$", f"precached_object_file={folder}/objects.precache", main)
    (folder / "nagios.cfg").write_text(main.replace("/etc/nagios4/conf.d", f"{folder}/conf.d"))
    hand_over(folder)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def objects(site: Path) -> Iterator[Path]:
    """A file for objects of the site's own, gone after the test."""
    file = site / "conf.d/site.cfg"
    yield file
    file.unlink(missing_ok=True)


def hosts(**layouts: str) -> str:
    """Hosts as short as they can be."""
    return "".join(
        f"define host {{\n use {layout},linux-server\n host_name {name}\n address 192.0.2.1\n}}\n" for name, layout in layouts.items()
    )


def test_a_stock_debian_takes_the_files_without_a_host(site: Path) -> None:
    verified(PROGRAMS, site / "nagios.cfg")


def test_a_stock_debian_takes_the_example_host_as_it_is(site: Path, objects: Path) -> None:
    objects.write_text((TEMPLATES / "host-example.cfg").read_text())
    verified(PROGRAMS, site / "nagios.cfg")


def test_a_stock_debian_takes_all_that_the_example_shows_in_comments(site: Path, objects: Path) -> None:
    """Its commented objects, and a service of a host by name that overrides the one of its layout."""
    text = (TEMPLATES / "host-example.cfg").read_text()
    examples = "".join(f"{line[2:]}\n" for line in text.splitlines() if re.match(r"# (define|    \w|\})", line))
    assert examples.count("define ") == 3
    others = hosts(kodeks2="kodeks-license-manager-key", kodeks3="kodeks-license-manager-key", kodeks4="kodeks-local-key")
    period = "define timeperiod {\n timeperiod_name kodeks4-outside-restart\n alias Kodeks 4\n monday 00:00-21:00\n}\n"
    objects.write_text(examples + others + period)
    found = resolved(PROGRAMS, site / "nagios.cfg")
    assert found.service("kodeks4", "KodeksXmlSensLockStatus")["check_period"] == "kodeks4-outside-restart"
    for later in ("KodeksUnreachable", "KodeksXmlSensLockStatus"):
        assert ("licman1", "SenseLockKeyStatus", "kodeks3", later) in found.dependencies


def test_a_stock_debian_takes_the_example_of_the_forwarders_log(site: Path, objects: Path) -> None:
    shown = re.search(r"(?m)^define service \{\n(?:.+\n)+\}\n", (TEMPLATES / "README.md").read_text())
    assert shown is not None
    objects.write_text((TEMPLATES / "host-example.cfg").read_text() + shown[0])
    verified(PROGRAMS, site / "nagios.cfg")


def test_the_example_of_the_forwarders_log_alarms_on_the_pattern() -> None:
    """With the real check_logfiles: the first run notes where the log ends, the log is rotated before the third has read the
    line, the last tells that the alarm stays for a while."""
    shown = re.search(r"(?m)^command\[kodeks_forwarder_log\]=(.*)$", (TEMPLATES / "README.md").read_text())
    assert shown is not None
    folder = open_folder("log.")
    log = folder / "forwarder.log"
    log.write_text("your pattern, of long ago\n")
    line = shown[1].replace("/var/log/forwarder.log", str(log))
    codes = []
    for news in ("", "all is well\n", "this has your pattern in it\n", ""):
        time.sleep(1.1)  # it knows a log's news by whole seconds
        with log.open("a") as stream:
            stream.write(news)
        if "pattern" in news:
            log.rename(f"{log}.1")
            log.write_text("the next day\n")
        codes.append(run_process(PROGRAMS.command(*AS_ENGINE, "sh", "-c", line), env={"PATH": SYSTEM_PATH, "LANG": "C.UTF-8"}).code)
    for memory in PROGRAMS.path("/var/tmp/check_logfiles").glob(f"*{str(log).replace('/', '_')}*"):
        memory.unlink()
    shutil.rmtree(folder)
    assert codes == [0, 0, 2, 2]


@pytest.fixture(scope="module")
def every_layout(site: Path) -> Resolved:
    """The objects as Nagios resolves them, with a host of every layout, named like it."""
    file = site / "conf.d/layouts.cfg"
    file.write_text(hosts(**{name: name for name in LAYOUTS}))
    found = resolved(PROGRAMS, site / "nagios.cfg")
    file.unlink()
    return found


def test_every_layout_has_services(every_layout: Resolved) -> None:
    assert len(LAYOUTS) == 7
    for layout in LAYOUTS:
        names = every_layout.names(layout)
        assert "MonitoringBroken" in names and len(names) >= 2, layout


def test_an_earlier_link_is_hard_broken_before_a_later_one_may_speak(every_layout: Resolved) -> None:
    """With half a minute to spare for the checks themselves. This is what makes soft_state_dependencies unnecessary."""
    assert len(every_layout.dependencies) == 17
    for host, parent, dependent_host, dependent in every_layout.dependencies:
        _, latest = every_layout.delay(host, parent)
        earliest, _ = every_layout.delay(dependent_host, dependent)
        assert latest + 0.5 <= earliest, f"{dependent} may speak after {earliest} min, {parent} is known after {latest}"


def test_no_link_behind_another_has_two_tries(every_layout: Resolved) -> None:
    """Nagios >= 4.4.12 checks masters at a dependent's next-to-last try, which must not be its first bad sample: see
    test_nagios_rounds.py."""
    for _, _, host, dependent in every_layout.dependencies:
        assert int(every_layout.service(host, dependent)["max_check_attempts"]) >= 3, (host, dependent)


def test_results_of_kodeks_unreachable_come_as_often_as_its_neighbour_asks(every_layout: Resolved) -> None:
    """Its own intervals only tell readers, and the test of the minutes, how often; it asks for itself when results stay away
    for longer than three rounds and the nightly restart."""
    for layout in LAYOUTS:
        if "KodeksUnreachable" in every_layout.names(layout):
            passive, active = (every_layout.service(layout, name) for name in ("KodeksUnreachable", "KodeksXmlSensLockStatus"))
            for directive in ("check_interval", "retry_interval", "check_period", "check_command"):
                assert passive[directive] == active[directive], (layout, directive)
            assert (passive["active_checks_enabled"], passive["passive_checks_enabled"], passive["check_freshness"]) == ("0", "1", "1")
            assert int(passive["freshness_threshold"]) / 60 > 17 + 2 * float(active["check_interval"])


def test_every_pair_of_links_has_its_dependency(every_layout: Resolved) -> None:
    """_KODEKS_CHAIN is the order of the links; what comes first silences what comes later, or is told why not."""
    # Kodeks' own state is UNKNOWN while it cannot be read, and never speaks about that.
    independent = {("KodeksUnreachable", "KodeksXmlSensLockStatus")}
    for layout in LAYOUTS:
        chain = every_layout.hosts[layout]["_KODEKS_CHAIN"].split()
        assert set(chain) <= set(every_layout.names(layout)), layout
        assert len(chain) == 1 or set(chain) == set(every_layout.names(layout)) - NO_LINKS, layout
        for at, parent in enumerate(chain):
            for dependent in chain[at + 1 :]:
                declared = (layout, parent, layout, dependent) in every_layout.dependencies
                assert declared != ((parent, dependent) in independent), (layout, parent, dependent)


def test_monitoring_broken_looks_at_every_check_that_may_be_unknown(every_layout: Resolved) -> None:
    for layout in LAYOUTS:
        watched = re.findall(r"(\w+)=\$SERVICESTATE::\1\$/\$SERVICESTATETYPE::\1\$", every_layout.service(layout, "MonitoringBroken")["check_command"])
        expected = set(every_layout.names(layout)) - {"MonitoringBroken", "UsbForwarderLicenseExpiring7day"}
        if "KodeksUnreachable" in expected:
            expected.remove("KodeksXmlSensLockStatus")
        assert set(watched) == expected, layout


def test_readme_tells_the_minutes_that_the_intervals_make(every_layout: Resolved) -> None:
    rows = re.findall(r"(?m)^\| (\w+) \| .* \| (\d) \| ([\d-]+)", (TEMPLATES / "README.md").read_text())
    told = {name: (int(tries), minutes) for name, tries, minutes in rows}
    computed = {}
    for layout in LAYOUTS:
        for name in every_layout.names(layout):
            if not (layout == "kodeks-stored-report" and name == "KodeksXmlSensLockStatus"):
                earliest, latest = every_layout.delay(layout, name)
                computed[name] = (int(every_layout.service(layout, name)["max_check_attempts"]), f"{earliest:g}-{latest:g}")
    assert told == computed


def test_every_service_links_to_a_page_in_both_languages(every_layout: Resolved) -> None:
    for layout in LAYOUTS:
        for name in every_layout.names(layout):
            page = every_layout.service(layout, name)["notes_url"].partition("$_HOSTKODEKS_RUNBOOKS$/")[2]
            assert page and page == f"{name.replace('7day', '')}.md"
            for language in ("en", "ru"):
                assert (ROOT / "templates/runbooks" / language / page).is_file(), f"{language}/{page}"


def test_contacts_stay_the_sites_own() -> None:
    for file in TEMPLATES.glob("kodeks-*.cfg"):
        assert not re.search(r"(?m)^\s+contact", file.read_text()), file.name


@pytest.mark.parametrize("section", ["check_senselock", "license", "check_usb_redirector", "check_kodeks_xml"])
def test_the_example_ini_has_only_options_that_exist(section: str, tmp_path: Path) -> None:
    """The section for check_tcp is used by the incident "license manager down"."""
    ini = tmp_path / "kodeks.ini"
    shutil.copy(EXAMPLE_INI, ini)
    ini.chmod(0o640)
    check = importlib.import_module("check_usb_redirector" if section == "license" else section)
    check.options().parse([f"--extra-opts={section}@{ini}"])


def test_nrpe_commands_are_those_that_the_services_call(every_layout: Resolved) -> None:
    called = {
        command
        for layout in LAYOUTS
        for name in every_layout.names(layout)
        for command in re.findall(r"(?:kodeks_nrpe!| -c )(\w+)$", every_layout.service(layout, name)["check_command"])
    }
    assert called == set(COMMANDS)


def test_nrpe_commands_are_one_line_and_their_deadlines_nest() -> None:
    nagios = "".join((TEMPLATES / f"kodeks-{part}.cfg").read_text() for part in ("commands", "templates"))
    (outer,) = {int(limit) for limit in re.findall(r"check_nrpe .* -t (\d+):UNKNOWN", nagios)}
    for name, line in COMMANDS.items():
        assert not re.search(r" -v+\b| --verbose", line), name
        limits = [int(number) for number in re.findall(r" -t (\d+)", line)] or [10]
        assert limits == sorted(limits, reverse=True) and limits[0] < outer < 60, name


@pytest.mark.parametrize("command", ["kodeks_server", "kodeks_hold_later_links"])
def test_a_command_does_not_wait_for_a_nagios_that_has_ended(command: str, tmp_path: Path) -> None:
    """It writes to the command file, a pipe that nobody reads any more."""
    text = (TEMPLATES / "kodeks-commands.cfg").read_text("utf-8")
    line = re.search(rf"(?m)^ +command_name +{command}\n +command_line +(.*)$", text)
    assert line is not None
    os.mkfifo(tmp_path / "nagios.cmd")
    macros = {"COMMANDFILE": str(tmp_path / "nagios.cmd"), "ARG1": "echo 'KODEKS_XML OK - x'", "TIMET": "1", "SERVICESTATE": "OK",
              "SERVICESTATETYPE": "HARD", "SERVICEDESC": "UsbForwarderStatus", "HOSTNAME": "kodeks1", "_HOSTKODEKS_GRACE": "9",
              "_HOSTKODEKS_CHAIN": "UsbForwarderStatus SenseLockKeyStatus", "_HOSTKODEKS_DEPENDENTS": "-"}  # fmt: skip
    shell = re.sub(r"\$(\w+)\$", lambda macro: macros[macro[1]], line[1].replace("\\;", ";").replace("$$", "\0")).replace("\0", "$")
    outcome = run_process(["sh", "-c", shell], patience=5)
    assert (outcome.code, outcome.stderr) == (0, b"")
