"""A dataset's samples under worse conditions: fetched, changed here, and kept beside those that they were made of."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..datasets import dataset_hash, deriving
from ..models.progress import Progress
from ..storage.api import Api
from . import dataset_server
from .dataset_server import MediaFiles


async def derive(
    api: Api, named: str, new: str, wanted: Sequence[deriving.Change], seed: int, progress: Progress
) -> dict[str, Any]:
    """The version that holds all changes of all samples of `named`, under the name `new`. Raises OpenOmniError."""
    about = await dataset_server.dataset(api, named)
    version = f"{about['dataset']}@{about['version']}"
    samples = await dataset_server.samples_of(api, version)
    with tempfile.TemporaryDirectory(prefix="openomni-") as name:
        folder, out = Path(name) / "in", Path(name) / "out"
        out.mkdir()
        there = await dataset_server.download(api, samples, folder, progress)
        made = await asyncio.to_thread(
            deriving.derive, there, folder, wanted, out, seed=seed,
            progress=lambda done, total: progress("deriving", done, total),
        )  # fmt: skip
        digest = dataset_hash(made.samples, made.files)
        if known := await dataset_server.kept_as(api, new, digest):
            return known
        media = MediaFiles(root=out, files=made.files, lengths=made.lengths)
        ids = await dataset_server.upload(api, media, progress)
    return await dataset_server.send(
        api,
        new,
        [dataset_server.at_paths(sample, ids) for sample in made.samples],
        digest,
        source=f"derived from {version}",
        progress=progress,
        pairs=made.pairs,
        derived_from=version,
        derivation=deriving.as_json(wanted, seed),
    )
