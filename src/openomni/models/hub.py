"""Models on a Hugging Face hub, fetched with its own client: its cache, its token, and `HF_ENDPOINT` for a mirror."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import installs
from ..errors import WrongUsage
from .catalogue import ModelError
from .download import RemoteFile

SCHEME = "hf://"


@dataclass(frozen=True, slots=True)
class HubReference:
    """`hf://organisation/repository[@revision][/path/to/file]`; without a path, the whole repository."""

    repository: str
    revision: str
    file: str

    @classmethod
    def parse(cls, reference: str) -> HubReference:
        form = r"hf://([\w.-]+/[\w.-]+)(?:@([\w.-]+))?(?:/([^@]+))?"
        found = re.fullmatch(form, reference)
        if found is None:
            raise WrongUsage(f"{reference!r} names nothing on a hub; write hf://organisation/repository[/file]")
        return cls(found[1], found[2] or "main", found[3] or "")


def remote_file(repository: str, revision: str, file: str) -> RemoteFile:
    """Where the hub keeps a file, with the user's token when there is one."""
    client = _client()
    url = client.hf_hub_url(repository, file, revision=revision, endpoint=_endpoint())
    return RemoteFile(url, client.utils.build_hf_headers(library_name="openomni"))


def fetch_from_hub(reference: str, needed: Sequence[str] = (), wanted: Sequence[str] = ()) -> Path:
    """The file, or the folder with a repository's files, from the hub's own cache or else from the hub.

    Of a repository, `wanted` are the patterns of the files to fetch and `needed` the files without which it is none
    of this kind. Once here, no network is touched. Raises `ModelError`.
    """
    place = HubReference.parse(reference)
    try:
        found = _fetch(place, wanted, local_files_only=True)
        if all((found / name).is_file() for name in needed):
            return found
    except FileNotFoundError:
        pass  # what the hub's client raises for what is not in its cache
    try:
        found = _fetch(place, wanted)
    except Exception as error:  # the client's errors have no common class; all mean that it is not to be had
        reason = " ".join(str(error).split())[:300]
        raise ModelError(f"{reference} could not be fetched from the hub: {reason}") from error
    missing = [name for name in needed if not (found / name).is_file()]
    if missing:
        raise ModelError(f"{reference} holds no {missing[0]}: it is no model of this kind; name another repository")
    return found


def _fetch(place: HubReference, wanted: Sequence[str], local_files_only: bool = False) -> Path:
    options: dict[str, Any] = {
        "revision": place.revision,
        "endpoint": _endpoint(),
        "local_files_only": local_files_only,
    }
    if place.file:
        return Path(_client().hf_hub_download(place.repository, place.file, **options))
    return Path(_client().snapshot_download(place.repository, allow_patterns=list(wanted) or None, **options))


def _endpoint() -> str | None:
    return os.environ.get("HF_ENDPOINT") or None


def _client() -> Any:
    try:
        import huggingface_hub
    except ModuleNotFoundError:
        raise ModelError(f"a hub needs the hub's client; {installs.line('local')}") from None
    return huggingface_hub
