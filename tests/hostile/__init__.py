"""The checks against a hostile world: no input may make them lie, break the contract, show a password, or hang.

test_guidelines.py   the oracle of the output and of ranges (lab/guidelines.py): it can say no, and the checks agree with it
test_processes.py    hostile texts through every way into every check, as whole processes
test_faults.py       real servers, devices, tools and limits that are broken
test_secrets.py      where a password may appear: in what is sent to the server that was named, and nowhere else
test_half_copied.py  folders that were copied in part
"""
