"""A file that appears or changes all at once, while others run or read it."""

from __future__ import annotations

import shutil
from pathlib import Path


def put(path: Path, content: bytes | str, mode: int = 0o644, owner: int | str | None = None) -> Path:
    """Write the file beside its place and move it there. Who reads it meets the old content or the new, and who starts it just
    now is not refused: the kernel starts nothing that is being written ("Text file busy"). `owner`: a user; None: who writes."""
    new = path.with_name(f"{path.name}.new")
    new.touch(mode=0o600)
    new.write_bytes(content.encode() if isinstance(content, str) else content)
    if owner is not None:
        shutil.chown(new, owner)
    new.chmod(mode)
    return new.replace(path)
