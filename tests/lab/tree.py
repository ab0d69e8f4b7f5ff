"""A copy of this project's files as a clone would have them, to change in it what a test wants to change."""

from __future__ import annotations

import shutil
from pathlib import Path

from lab.run_check import ROOT

NOT_IN_A_CLONE = shutil.ignore_patterns(".git", ".venv", "build", "dist", "__pycache__", "*.egg-info", ".*_cache", ".hypothesis")


def copy_of_the_tree(target: Path) -> Path:
    """Copy the project to the new folder `target`, without what git ignores and without git's own folder."""
    return Path(shutil.copytree(ROOT, target, ignore=NOT_IN_A_CLONE, symlinks=True))
