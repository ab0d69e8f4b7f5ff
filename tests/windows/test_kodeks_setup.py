"""kodeks_setup on Windows: the forwarder's tool in PATH, its process, the Zabbix agent, the ini and what the checks say by it."""

from __future__ import annotations

import shutil

from lab.forwarder_tools import sample
from lab.run_check import ROOT
from lab.windows import WindowsMachine, quoted

UNKNOWN = 3


def set_up(windows: WindowsMachine, *arguments: str) -> tuple[int, str]:
    """Exit code and output."""
    program = [windows.python(), "-X", "utf8", r"C:\Program Files\kodeks\kodeks_setup.py", *arguments]
    outcome = windows.run(quoted(*program), env={"PATH": r"C:\forwarders;C:\windows\system32;C:\windows"}, patience=120)
    assert outcome.stderr == b"", outcome.stderr
    return outcome.code, outcome.text.replace("\r\n", "\n")


def test_it_finds_a_forwarder_and_writes_the_ini(new_windows: WindowsMachine) -> None:
    windows = new_windows
    tool = windows.stand_in("usbrdrsh", sample("usbrdrsh-list-devices-constructed.txt"))
    agent = windows.programs / "Zabbix Agent 2"
    (agent / "zabbix_agent2.d").mkdir(parents=True)
    (agent / "zabbix_agent2.conf").write_text("Include=C:\\Program Files\\Zabbix Agent 2\\zabbix_agent2.d\\*.conf\n")
    shutil.copytree(ROOT / "templates", windows.programs / "templates")
    (windows.disk / "ProgramData/kodeks").mkdir(parents=True)

    code, text = set_up(windows, "--write", "--license-expires", "perpetual")
    assert f"Forwarder USB Redirector, by program {tool}" in text, text
    ini = (windows.disk / "ProgramData/kodeks/kodeks.ini").read_text("utf-8")
    for line in ("product = usb-redirector", "side = server", f"list-command = {tool} -list-devices", "device = 0471:485d"):
        assert line in ini.splitlines(), ini
    assert "C:\\Program Files\\kodeks\\check_senselock.py" in (agent / "zabbix_agent2.d/userparameter_kodeks_windows.conf").read_text("utf-8")
    assert (code, "USB_REDIRECTOR OK - " in text) == (0, True), text

    code, text = set_up(windows)
    assert (code, "kodeks.ini says what is here now" in text) == (0, True), text
