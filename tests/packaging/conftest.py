"""What is built once a session: the one-file checks, and how anything is built at all."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from lab.engine_process import open_folder
from lab.run_check import ROOT, SERVICES

Build = Callable[..., Path]


def build(folder: Path, *targets: str, env: Mapping[str, str] | None = None, umask: int = 0o022) -> Path:
    """Run packaging/build.py as a user does; its output goes to `folder`, which is returned."""
    done = subprocess.run(
        [sys.executable, ROOT / "packaging/build.py", *targets, "--output", folder],
        cwd="/",
        env={**os.environ, **(env or {})},
        umask=umask,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    named = {Path(line).name for line in done.stdout.splitlines()}
    assert named == {file.name for file in folder.iterdir()}, "the build names what it made, and makes nothing else"
    return folder


@pytest.fixture(scope="session")
def dist() -> Iterator[Path]:
    """The one-file checks in a folder that every user may read and nobody may write."""
    folder = open_folder("dist.")
    build(folder)
    folder.chmod(0o555)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(params=[f"check_{name}" for name in SERVICES])
def check(request: pytest.FixtureRequest) -> str:
    """Every check in turn, by its full name."""
    return str(request.param)


@pytest.fixture(scope="session", name="build")
def build_fixture() -> Build:
    """`build(folder, *targets, env=..., umask=...)`: packaging/build.py as a user runs it."""
    return build
