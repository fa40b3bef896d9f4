"""What is imported: looked at here, and taken whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .. import datasets
from ..datasets import Audit
from ..errors import OpenOmniError
from ..models.progress import Progress
from ..storage.api import Api
from . import dataset_server
from .dataset_server import MediaFiles

BUILTIN = "builtin:"


def found_in(
    path: str,
    *,
    format: str | None = None,
    time_points: Sequence[float] | None = None,
    accept: Sequence[str] = (),
    progress: Callable[[int, int], None] | None = None,
    told: Callable[[str], None] = lambda line: None,
) -> Audit:
    """What the audit finds in a folder, a file, or one of the sets that come along (`builtin:questions`), which is made
    first, once. Raises WrongUsage for a format, a kind or a set that there is not."""
    if path.startswith(BUILTIN):
        from ..bench import builtin_sets

        return datasets.audit(builtin_sets.folder(path.removeprefix(BUILTIN), told), format="jsonl")
    return datasets.audit(
        Path(path).expanduser(), format=format, time_points=time_points, accept=accept, progress=progress
    )


async def take(api: Api, found: Audit, name: str, source: str, progress: Progress) -> dict[str, Any]:
    """Has the server keep what an audit found without an error, under a name; gives the version. What the server has
    already is not sent again."""
    if not found.ok:
        raise OpenOmniError(f"{source} has errors, and nothing of it is taken; mend them and try again")
    known = await dataset_server.kept_as(api, name, found.hash)
    if known is not None:
        return known
    media = MediaFiles(root=Path(found.root), files=found.files, lengths=found.lengths)
    ids = await dataset_server.upload(api, media, progress)
    samples = [dataset_server.at_paths(sample, ids) for sample in found.samples]
    told = f"{Path(source).name if not source.startswith(BUILTIN) else source} ({found.format})"
    return await dataset_server.send(api, name, samples, found.hash, source=told, progress=progress)
