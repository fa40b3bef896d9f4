"""A dataset on its way out, into a folder that another tool reads."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Sequence
from pathlib import Path

from ..errors import WrongUsage, nearest
from .formats import FORMATS
from .samples import Sample, checked


def export(samples: Sequence[Sample], source: str | Path, format: str, out: str | Path) -> Path:
    """Writes the samples, whose media lie in the folder `source` (`Audit.root`), with their media into the folder
    `out`, which is new or empty, and gives it. It is there whole or not at all.

    What is imported again has the same rows. In `jsonl` and `lhotse` files keep their names and their bytes, so the
    hash is the same, too. In `audio-folder` they are numbered, and a stretch of a longer file becomes a WAV of its own,
    without pictures: those rows differ in `sound`, and the hash with them.

    Raises WrongUsage for a format that is not written, and where `out` holds something or the samples can't be kept,
    MediaError where media can't be decoded, OSError for a full disk.
    """
    out = Path(out)
    chosen = FORMATS.get(format)
    if chosen is None or not chosen.writes:
        written = [name for name, each in FORMATS.items() if each.writes]
        raise WrongUsage(f"{format!r} is no format to export to; {nearest(format, written)}")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise WrongUsage(f"{out} is there already and not empty; name a new folder")
    try:
        samples = [checked(sample) for sample in samples]
    except ValueError as error:
        raise WrongUsage(f"a sample is out of bounds: {error}") from None
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.parent / f".{out.name}-{secrets.token_hex(4)}"
    part.mkdir()
    try:
        chosen.write(samples, Path(source), part)
        part.replace(out)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    return out
