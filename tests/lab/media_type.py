#!/usr/bin/env python3
"""A media type as its YAML export holds it; run as a program, it writes telegram.js into media_telegram.yaml.

The script of a webhook is a block of text in the middle of a YAML file, where no editor and no linter sees it. So it
is kept in a file of its own, and the YAML is what this program makes of both; a test fails when they differ.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path

import yaml

FOLDER = Path(__file__).resolve().parents[2] / "templates/zabbix"
TELEGRAM_YAML, TELEGRAM_SCRIPT = FOLDER / "media_telegram.yaml", FOLDER / "telegram.js"
_BLOCK = re.compile(r"(?m)^( *)script: \|\n(?:\1  .*\n|\n)*")


@dataclass(frozen=True)
class MediaType:
    """What an import makes of the file: `parameters` with their macros unresolved, `templates` as (source, mode)."""

    name: str
    parameters: dict[str, str]
    script: str
    timeout_seconds: int
    templates: dict[tuple[str, str], tuple[str, str]]

    @classmethod
    def read(cls, path: Path = TELEGRAM_YAML) -> MediaType:
        """Read an export that holds one webhook."""
        (found,) = yaml.safe_load(path.read_text(encoding="utf-8"))["zabbix_export"]["media_types"]
        return cls(
            name=found["name"],
            parameters={parameter["name"]: parameter["value"] for parameter in found["parameters"]},
            script=found["script"],
            timeout_seconds=int(found["timeout"].rstrip("s")),
            templates={
                (template["event_source"], template["operation_mode"]): (template["subject"], template["message"])
                for template in found["message_templates"]
            },
        )


def embed(document: str, script: str) -> str:
    """The YAML document with this script in its one `script:` block."""

    def block(match: re.Match[str]) -> str:
        indent = match[1]
        lines = [f"{indent}  {line}" if line else "" for line in script.splitlines()]
        return "\n".join([f"{indent}script: |", *lines]) + "\n"

    result, count = _BLOCK.subn(block, document)
    if count != 1:
        raise ValueError(f"{count} script blocks instead of one")
    return result


def main() -> int:
    """Write the script into the YAML file."""
    document = TELEGRAM_YAML.read_text(encoding="utf-8")
    TELEGRAM_YAML.write_text(embed(document, TELEGRAM_SCRIPT.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
