"""What commands share of their output: results as JSON, whole or not at all."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ..errors import OpenOmniError


def check_json(path: Path | None) -> None:
    """Before the work rather than after it: raises OpenOmniError where `write_json` could not write."""
    if path is not None and (path.is_dir() or not os.access(path.parent, os.W_OK)):
        reason = "it is a folder" if path.is_dir() else f"there is no folder {path.parent} to write to"
        raise OpenOmniError(f"can't write {path} ({reason}); choose another file with --json")


def write_json(path: Path | None, content: Any) -> None:
    """Writes a result where `--json` says; nothing for None."""
    if path is None:
        return
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise OpenOmniError(f"can't write {path} ({error.strerror}); choose another file with --json") from None
