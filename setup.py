"""What setup.cfg cannot derive: every file of checks/ is a program, and a command of its own name."""

from pathlib import Path

from setuptools import setup  # type: ignore[import-untyped]

PROGRAMS = sorted(path.stem for path in Path(__file__).resolve().parent.glob("checks/*.py"))

setup(py_modules=PROGRAMS, entry_points={"console_scripts": [f"{name} = {name}:main" for name in PROGRAMS]})
