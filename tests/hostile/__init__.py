"""The checks against a hostile world: no input may make them lie, break the contract, or hang.

grammar.py     hostile input: lists, pages, reports, answers, ini files, argument lists. Everything is drawn from a
               random.Random, so one grammar serves a fast campaign, hypothesis and atheris
oracle.py      what the contract and an honest OK look like; shares no code with the checks
properties.py  one property a parser: draws an input, reads it, holds the answer against the oracle
processes.py   the same for whole processes: files, standard input, servers, tools, arguments, environment
campaign.py    `python -m hostile.campaign`: any number of examples on several processes, with seeds and failures
fuzz.py        the atheris target: coverage leads the grammar

From the repository's root, with PYTHONPATH=checks:tests:

    python -m hostile.campaign --examples 200000 --seed 1 --processes 2      every parser
    python -m hostile.campaign --runs 5000 --seed 1 --processes 2            whole processes
    python -m hostile.campaign --property report --seed 1 --example 17       one example again
    pip install atheris && python -m hostile.fuzz --property report -runs=100000

CI runs a fixed slice of it: test_properties.py and test_processes.py.
"""
