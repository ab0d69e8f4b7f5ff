"""The tables of tests/functional with the interpreter swapped: the same rows, run by CPython for Windows.

A new test there is run here, too, unless LEFT_OUT names it with the reason.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from lab.functional_tables import TABLES, TESTS
from lab.run_check import Outcome
from lab.windows import WindowsMachine

POSIX_TOOLS = "shell scripts and processes of Linux stand in for the forwarder; test_faults.py and test_forwarders.py have those of Windows"
SYSFS = "the bus is an emulated sysfs; test_keys.py has the bus as Windows shows it"
POSIX_START = "a shell, a signal, a symlink or /dev/full is how the check is started or ended"
NO_SYSTEM = "many rows of one parser that calls nothing of the system; a part runs in the other tables"
SLOW = "it takes Wine half a minute, and test_kodeks_faults shows the same of Windows"
MEMORY = "peak memory is measured by Linux"

LEFT_OUT = {
    **dict.fromkeys(["senselock_row", "senselock_the_ranges_are_in_the_perfdata", "senselock_no_usb_bus", "senselock_pyusb_missing",
                     "senselock_a_key_pulled_out_is_gone_at_the_next_run", "senselock_a_key_of_a_frozen_forwarder_is_counted_without_waiting_for_it",
                     "senselock_a_stuck_key_is_named_within_the_limit", "senselock_a_stuck_device_that_is_no_key", "senselock_consoles",
                     "senselock_an_ordinary_user_sees_the_same", "senselock_an_ordinary_user_cannot_tell_a_ghost",
                     "senselock_without_a_usable_libusb", "senselock_libusb_does_not_start_where_there_is_no_usb",
                     "usb_redirector_usbipd_win_lists_what_others_hold", "usb_redirector_a_ghost_is_not_good",
                     "usb_redirector_a_ghost_without_a_note_is_not_good", "usb_redirector_an_attached_key_that_the_kernel_blocks",
                     "usb_redirector_a_silent_server_holds_only_what_came_from_it", "usb_redirector_the_client_of_usbip"], SYSFS),
    **dict.fromkeys(["usb_redirector_list_command", "usb_redirector_an_expired_license_outranks_a_tool_that_hangs",
                     "usb_redirector_the_products_own_command", "usb_redirector_no_shell_reads_the_command",
                     "usb_redirector_exit_codes_of_network_gate_do_not_count", "usb_redirector_dongle_server",
                     "usb_redirector_the_real_tool_where_no_device_is_offered", "usb_redirector_process",
                     "usb_redirector_a_process_is_told_by_its_name_alone", "usb_redirector_a_container_shows_few_processes_and_the_check_is_none_of_them",
                     "usb_redirector_a_long_name_behind_another_first_word", "usb_redirector_a_process_with_a_russian_name",
                     "usb_redirector_names_in_russian_and_a_locale_of_ascii", "usb_redirector_a_process_that_cannot_be_seen",
                     "usb_redirector_two_processes_and_a_product_without_a_list", "usb_redirector_service",
                     "usb_redirector_a_side_without_a_default_where_nothing_hangs_on_it",
                     "usb_redirector_a_service_that_cannot_be_asked_hides_no_other", "contract_signals_leave_no_list_command_behind"], POSIX_TOOLS),
    **dict.fromkeys(["contract_closed_stdout_is_never_ok", "contract_full_stdout_is_never_ok", "contract_a_reader_that_has_gone_is_never_ok",
                     "contract_closed_stdin_and_stderr_do_no_harm", "contract_signals_leave_a_line_and_exit_3", "contract_a_terminal_keeps_its_own_encoding",
                     "contract_every_way_in_says_the_same", "contract_debians_own_packages_suffice", "contract_the_installed_command_says_the_same",
                     "contract_the_installed_command_is_on_time_too", "kodeks_no_password_in_the_process_list_or_in_files",
                     "usb_redirector_a_new_product_is_one_file"], POSIX_START),
    **dict.fromkeys(["contract_a_threshold_that_is_no_range_is_a_usage_error", "contract_usage_errors_are_unknown_with_a_sentence",
                     "kodeks_usage_errors", "kodeks_ages", "kodeks_every_schema_is_read", "kodeks_records", "usb_redirector_no_date_is_a_usage_error",
                     "usb_redirector_lists_as_the_tools_print_them", "usb_redirector_license"], NO_SYSTEM),
    **dict.fromkeys(["kodeks_the_state_of_the_time_limit_outranks_that_of_unreachable", "kodeks_answers_that_are_too_short_or_too_long"], SLOW),
    **dict.fromkeys(["kodeks_memory_does_not_grow_with_the_report", "kodeks_memory_is_bounded_by_bytes"], MEMORY),
    "contract_the_deadline_holds_whatever_hangs": "libc and slow patterns are Linux' own; test_faults.py has three of them on Windows",
    "contract_an_engine_reads_utf_8_whatever_the_locale": "code pages take the place of locales, in test_faults.py",
    "kodeks_engines_get_utf8_in_every_locale": "code pages take the place of locales, in test_faults.py",
    "contract_missing_nagiosplugin_is_a_sentence": "it names Debian's package on Linux alone; test_faults.py has the sentence for Windows",
    "kodeks_paths_that_are_no_reports": "a FIFO, /dev/zero and /proc",
    "kodeks_where_a_password_may_stand": "mode 0644 is refused on Linux alone; encodings of a password file are in test_faults.py",
    "kodeks_no_surroundings_make_a_record_good": "it starts no check",
    "kodeks_the_lab_has_no_fault_that_is_not_tried": "it is about the lab",
    "usb_redirector_the_day_is_the_machines_own": "Windows knows no time zone by TZ",
    "usb_redirector_captured_list_that_cannot_be_read": "a FIFO and rights of Linux",
}  # fmt: skip
globals().update({name: test for name, test in TESTS.items() if name.removeprefix("test_") not in LEFT_OUT})
kodeks, check = TABLES["kodeks"].kodeks, TABLES["contract"].check  # fixtures


@pytest.fixture(autouse=True)
def swapped(request: pytest.FixtureRequest, windows: WindowsMachine, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """lab.run_check starts the checks of the Windows machine. A test that starts none there would prove nothing."""
    runs: list[Outcome] = []

    def run_process(*arguments: object, **options: object) -> Outcome:
        runs.append(windows.run_process(*arguments, **options))  # type: ignore[arg-type]
        return runs[-1]

    for module in ("lab.run_check", *(module.__name__ for module in TABLES.values())):
        monkeypatch.setattr(f"{module}.run_process", run_process, raising=False)
    yield
    assert runs or request.function is test_what_is_left_out_exists


def test_what_is_left_out_exists() -> None:
    assert {f"test_{name}" for name in LEFT_OUT} - TESTS.keys() == set()
