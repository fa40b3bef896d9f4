"""Datasets between this machine and the server: media go up as recordings, samples in parts, and both come back."""

from __future__ import annotations

import asyncio
import hashlib
import mimetypes
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar
from urllib.parse import quote

import msgspec

from .. import clock
from ..bounds import MAX_JSON
from ..datasets import Sample
from ..errors import OpenOmniError
from ..media_file import MediaFile, moving
from ..models.progress import Progress
from ..storage.api import AWAY_PATIENCE_S, Api, RecordingMeta, Refused, Unreachable, WrongOffset, delays

AT_ONCE = 4
PART_BYTES = 4 << 20
PART_SAMPLES = 250
PAGE = 500
DISAGREEMENTS = 5
"""How often the server may hold other bytes than were sent."""
T = TypeVar("T")


class MediaFiles(msgspec.Struct, kw_only=True):
    """Media of a dataset in the folder `root`, and what is known of each by its path there."""

    root: Path
    files: dict[str, str]
    """Path → SHA-256."""
    lengths: dict[str, tuple[int, int]] = {}
    """Path → samples of sound, and how many there are a second."""


async def upload(api: Api, media: MediaFiles, progress: Progress) -> dict[str, str]:
    """Puts the files there that are not yet, and gives path → id of its recording. An id follows from the bytes and the
    project, so a file is there once, however many datasets and samples name it.

    Raises OpenOmniError, with the mend, for what is refused and for a server that stays away.
    """
    project = (await api.get("/me"))["project"]
    ids = {
        path: hashlib.sha256(f"{project} {sha256}".encode()).hexdigest()[:32] for path, sha256 in media.files.items()
    }
    first = {recording_id: path for path, recording_id in reversed(ids.items())}
    sizes = {path: (media.root / path).stat().st_size for path in first.values()}
    sent = dict.fromkeys(sizes, 0)

    def told(path: str, done: int) -> None:
        sent[path] = done
        progress("uploading", sum(sent.values()), sum(sizes.values()))

    async def one(recording_id: str, path: str) -> None:
        meta = await asyncio.to_thread(_meta, media, path, recording_id)
        await _patiently(lambda: _put(api, meta, media.root / path, media.files[path], lambda done: told(path, done)))

    await _some_at_once([lambda key=key, path=path: one(key, path) for key, path in first.items()])  # type: ignore[misc]
    return ids


async def send(
    api: Api,
    name: str,
    samples: Sequence[Sample],
    digest: str,
    *,
    source: str,
    progress: Progress,
    pairs: Mapping[str, str] | None = None,
    derived_from: str = "",
    derivation: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Has the server keep these samples, whose paths are ids of recordings; gives the version. What was interrupted
    goes on where it was. `digest`: as `dataset_hash` has it."""
    asked = {"name": name, "source": source, "derived_from": derived_from, "derivation": dict(derivation or {})}
    pairs = pairs or {}
    told = msgspec.json.encode([asked, digest, [each.id for each in samples], pairs], order="sorted")
    draft = hashlib.sha256(told).hexdigest()[:32]
    api, done = api.patient(lambda line: None), 0
    while done < len(samples):
        some = _part(samples, done)
        body: dict[str, Any] = {"offset": done, "samples": msgspec.to_builtins(some)}
        if its := {each.id: pairs[each.id] for each in some if each.id in pairs}:
            body["pairs"] = its
        try:
            received = (await api.post(f"/dataset-drafts/{draft}/samples", body))["received"]
        except Refused:
            # Its last part was taken and frozen by an earlier run, or by somebody beside this one.
            if done and (kept := await kept_as(api, name, digest)):
                return kept
            raise
        done = max(received, done + len(some))
        progress("sending samples", done, len(samples))
    made: dict[str, Any] = await api.post("/datasets", {**asked, "draft": draft, "hash": digest})
    return made


async def kept_as(api: Api, name: str, digest: str) -> dict[str, Any] | None:
    """The version of this name that has this hash already; None where there is none."""
    try:
        newest = await dataset(api, name)
    except Refused as refused:
        if refused.status != 404:
            raise
        return None
    number = next((each["version"] for each in newest["versions"] if each["hash"] == digest), None)
    return None if number is None else await dataset(api, f"{name}@{number}")


async def dataset(api: Api, named: str) -> dict[str, Any]:
    """NAME, or NAME@VERSION."""
    name, _, version = named.partition("@")
    path = f"/datasets/{quote(name, safe='')}"
    found: dict[str, Any] = await (api.get(path, version=version) if version else api.get(path))
    return found


async def samples_of(api: Api, named: str) -> list[Sample]:
    """All samples of a version; their paths are ids of recordings."""
    name, _, version = named.partition("@")
    wanted = {"version": version} if version else {}
    found = [each async for each in _pages(api, f"/datasets/{quote(name, safe='')}/samples", **wanted)]
    return [msgspec.convert(each["sample"], Sample) for each in found]


async def everything(api: Api, path: str, **query: Any) -> list[dict[str, Any]]:
    return [each async for each in _pages(api, path, **query)]


async def _pages(api: Api, path: str, **query: Any) -> AsyncIterator[dict[str, Any]]:
    further: dict[str, str] = {}
    while True:
        page = await api.get(path, limit=PAGE, **query, **further)
        for each in page["items"]:
            yield each
        if not page["next"]:
            return
        further = {"cursor": page["next"]}


async def download(api: Api, samples: Iterable[Sample], folder: Path, progress: Progress) -> list[Sample]:
    """Fetches what the samples name into a folder, each file under the name that it was imported by; gives the samples
    with paths there."""
    samples = list(samples)
    ids = list(dict.fromkeys(each.sound.path for sample in samples for each in sample.utterances))
    patient, known = api.patient(lambda line: None), dict[str, dict[str, Any]]()
    done = 0

    async def look(key: str) -> None:
        known[key] = await patient.get(f"/recordings/{key}")

    async def fetch(key: str) -> None:
        nonlocal done
        await patient.download(key, folder / names[key])
        done += 1
        progress("downloading", done, len(ids))

    await _some_at_once([lambda key=key: look(key) for key in ids])  # type: ignore[misc]
    names = _names({key: known[key] for key in ids})
    await _some_at_once([lambda key=key: fetch(key) for key in ids])  # type: ignore[misc]
    return [at_paths(sample, names) for sample in samples]


def at_paths(sample: Sample, paths: Mapping[str, str]) -> Sample:
    """The sample with other paths for its media."""
    return msgspec.structs.replace(
        sample,
        utterances=tuple(
            msgspec.structs.replace(each, sound=msgspec.structs.replace(each.sound, path=paths[each.sound.path]))
            for each in sample.utterances
        ),
    )


def _names(known: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Id → path of the file: as it was called when it was imported, in a folder of its own where two are called so."""
    names: dict[str, str] = {}
    taken: set[str] = set()
    for key, recording in known.items():
        name = (
            PurePosixPath(recording["source"].removeprefix(SOURCE)).name
            if recording["source"].startswith(SOURCE)
            else ""
        )
        if not re.fullmatch(r"[^/\\\x00-\x1f]{1,200}", name) or name.startswith("."):
            name = key + (mimetypes.guess_extension(recording["media_type"]) or "")
        path = f"media/{name}" if name.lower() not in taken else f"media/{key}/{name}"
        taken.add(name.lower())
        names[key] = path
    return names


SOURCE = "dataset:"
"""What the source of a recording that was imported begins with; its file's name follows."""


def _meta(media: MediaFiles, path: str, recording_id: str) -> RecordingMeta:
    with MediaFile(media.root / path) as file:
        has_pictures = moving(file) is not None
    guessed, _ = mimetypes.guess_type(path)
    kind = "video" if has_pictures else "audio"
    if not guessed or not guessed.startswith(("audio/", "video/")):
        ending = re.sub(r"[^a-z0-9]", "", PurePosixPath(path).suffix.lower())
        guessed = f"{kind}/{ending or 'octet-stream'}"
    samples, rate = media.lengths.get(path, (None, None))
    return RecordingMeta(
        recording_id=recording_id,
        kind=kind,  # type: ignore[arg-type]
        media_type=guessed,
        rate=rate,
        samples=samples,
        source=f"{SOURCE}{PurePosixPath(path).name}",
    )


async def _put(api: Api, meta: RecordingMeta, path: Path, sha256: str, told: Callable[[int], None]) -> None:
    size, disagreements = path.stat().st_size, 0
    offset = await api.create(meta)
    while True:
        told(min(offset, size))
        try:
            if offset >= size:
                await api.finish(meta.recording_id, sha256, size)
                return
            data = await asyncio.to_thread(_read, path, offset)
            last = offset + len(data) >= size
            offset, sealed = await api.write(meta.recording_id, offset, data, sha256 if last else "")
            if sealed:
                told(size)
                return
        except WrongOffset as elsewhere:
            offset, disagreements = elsewhere.received, disagreements + 1
            if disagreements > DISAGREEMENTS:
                raise OpenOmniError(f"{path} changed while it was uploaded; import it again") from None


def _read(path: Path, offset: int) -> bytes:
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(PART_BYTES)


async def _patiently(act: Callable[[], Awaitable[T]]) -> T:
    """Again for as long as a server is waited for."""
    deadline = clock.now() + AWAY_PATIENCE_S
    for wait in delays(most=2.0):
        try:
            return await act()
        except Unreachable:
            if clock.now() + wait > deadline:
                raise
        await asyncio.sleep(wait)
    raise AssertionError("delays never end")


async def _some_at_once(acts: Sequence[Callable[[], Awaitable[None]]]) -> None:
    """All of them, `AT_ONCE` at a time; the first that fails ends the others."""
    left = iter(acts)

    async def work() -> None:
        for act in left:
            await act()

    workers = [asyncio.ensure_future(work()) for _ in range(min(AT_ONCE, len(acts)))]
    try:
        await asyncio.gather(*workers)
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)


def _part(samples: Sequence[Sample], start: int) -> list[Sample]:
    """So many as fit into a body, at least one."""
    some: list[Sample] = []
    held = 0
    for sample in samples[start : start + PART_SAMPLES]:
        held += len(msgspec.json.encode(sample))
        if some and held > MAX_JSON // 2:
            break
        some.append(sample)
    return some
