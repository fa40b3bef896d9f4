"""Real voices that anyone can fetch: the prompts of Debian's package `asterisk-core-sounds-en-g722` (CC-BY-SA)."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from .. import folders
from ..errors import OpenOmniError

PACKAGE = "asterisk-core-sounds-en-g722"
DOWNLOAD_S = 120


def cache_folder() -> Path:
    """Where the benchmarks keep what they fetched and made."""
    return folders.cache() / "bench"


def debian_prompts() -> Path:
    """The folder of the unpacked package; downloaded with apt-get once. Raises OpenOmniError where that can't be."""
    folder = cache_folder() / PACKAGE
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        try:
            _run(["apt-get", "download", PACKAGE], temporary)
            (package,) = Path(temporary).glob("*.deb")
            _run(["dpkg", "-x", package.name, "unpacked"], temporary)
            (Path(temporary) / "unpacked").replace(folder)
        except (OSError, subprocess.SubprocessError, ValueError) as error:
            said = (getattr(error, "stderr", b"") or b"").decode(errors="replace").strip().splitlines()
            reason = said[-1] if said else str(error)
            raise OpenOmniError(
                f"{PACKAGE} can't be fetched ({reason}); on Debian or Ubuntu with a network it can, or give "
                "recordings of your own"
            ) from None
    return folder


def _run(argv: list[str], folder: str) -> None:
    subprocess.run(argv, cwd=folder, check=True, capture_output=True, timeout=DOWNLOAD_S)
