"""What is derived of recordings: made once, when they are complete, by a child that leaves the machine to others.

A recording that was derived from has a row of its peaks, which is written last. What could not be made has a row too,
without a key and with the reason behind its maker's name, so that only another version tries it again. A row of a
playable form without key and maker is still to be made. So a server that died goes on where it was, by one look at its
next start; between them nothing looks, for whoever completes a recording says so.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from django.db import IntegrityError, close_old_connections, connections, transaction
from django.db.models import Exists, OuterRef, Q

from ...bounds import stored
from ...storage import NotStored
from ...version import __version__
from ..ground.statements import Statements
from ..records.models import Derived, Recording
from .derive.reader import Reader, ReaderClosed
from .store import storage

log = logging.getLogger("openomni.api.media")

SETTLE_S = 2.0
"""Seconds between a recording's completion, or the server's start, and the work: others may follow at once."""
PAUSE_S = 20.0
"""Seconds between two lots: during a conversation a process is started for several replies, not for each."""
MAKER = f"openomni-derive {__version__}"
EXTENSIONS = {
    "application/octet-stream": "dat", "image/jpeg": "jpg", "audio/mp4": "m4a", "audio/webm": "weba",
    "video/mp4": "mp4", "video/webm": "webm",
}  # fmt: skip
CHUNK = 200
Kind = Derived.Kind
_recordings, _derived = Statements(Recording), Statements(Derived)
_open = Q(key="") & ~Q(made_by__startswith=MAKER)
"""Rows of what this version has not tried yet."""


class Asks(Protocol):
    """A `Reader`, or what stands for one."""

    def ask(self, kind: str, source: Path, **more: Any) -> dict[str, Any]: ...


class Deriver:
    """A thread that derives, one recording at a time, between `start` and `stop`."""

    def __init__(self, settle: float = SETTLE_S, pause: float = PAUSE_S) -> None:
        self._settle, self._pause = settle, pause
        self._told: deque[str] = deque()
        self._later: deque[str] = deque()
        """Recordings whose playable form is to be made."""
        self._woken, self._stopped = threading.Event(), threading.Event()
        self._reader = Reader()
        self._thread = threading.Thread(target=self._run, name="deriving", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """What is being made is dropped, and made after the next start."""
        self._stopped.set()
        self._woken.set()
        self._reader.close()
        if self._thread.is_alive():
            self._thread.join()

    def tell(self, recording_id: str) -> None:
        """That it is complete. Does not wait."""
        self._told.append(recording_id)
        self._woken.set()

    def ask(self, kind: str, source: Path, **more: Any) -> dict[str, Any]:
        """As `Reader.ask`."""
        answer = self._reader.ask(kind, source, **more)
        close_old_connections()  # it may have taken an hour
        return answer

    def _run(self) -> None:
        left, later = unsettled(), unplayable()
        while not self._stopped.wait(self._settle):
            self._woken.clear()
            done = 0
            with self._reader:
                while not self._stopped.is_set() and self._guarded(lambda: self._one(left, later)):
                    done += 1
            connections.close_all()
            if done:
                self._stopped.wait(self._pause)
            self._woken.wait()

    def _one(self, left: Iterator[str], later: Iterator[str]) -> bool:
        """One recording: of those that were told, then of those `left` from before; then the playable forms, which
        take longest. False when there is none."""
        if self._told:
            key: str | None = self._told.popleft()
        else:
            key = next(left, None)
        if key is not None:
            if derive(key, self):
                self._later.append(key)
            return True
        key = self._later.popleft() if self._later else next(later, None)
        if key is not None:
            make_playable(key, self)
        return key is not None

    @staticmethod
    def _guarded(act: Callable[[], bool]) -> bool:
        try:
            return act()
        except ReaderClosed:
            return False
        except Exception:
            # Of the database, or the disk: it says nothing about the recording, which the next start finds again.
            log.exception("a recording could not be derived from; it is tried again when the server starts anew")
            return True


def derive(recording_id: str, reader: Asks) -> bool:
    """Makes what is quickly made; True where a playable form is still to be made. Raises ReaderClosed, StorageFull."""
    recording = _complete(recording_id)
    rows = _derived.find(recording_id=recording_id) if recording is not None else []
    tried = {row.kind for row in rows if row.key or row.made_by.startswith(MAKER) or row.kind == Kind.PLAYABLE}
    if recording is None or (Kind.PEAKS in tried and len(tried) == len(rows)):
        return False
    with _source(recording) as source:
        answer = _asked(reader, "look", recording, source)
        wants = [kind for kind in answer.get("wants", ()) if kind not in tried]
        if "wants" in answer and recording.seconds is None and recording.kind != Recording.Kind.PICTURE:
            _measure(recording, source, reader)
        if Kind.THUMBNAIL in wants:
            _make(Kind.THUMBNAIL, recording, source, reader)
        if Kind.PLAYABLE in wants:
            _note(recording, Kind.PLAYABLE, made_by="")
        if Kind.PEAKS in wants:
            _make(Kind.PEAKS, recording, source, reader)
        elif Kind.PEAKS not in tried:
            _note(recording, Kind.PEAKS, made_by=f"{MAKER}: {answer.get('failed', 'it has no sound')}")
    return Kind.PLAYABLE in wants


def make_playable(recording_id: str, reader: Asks) -> None:
    """Raises ReaderClosed, StorageFull."""
    recording = _complete(recording_id)
    if recording is not None and recording.derived.filter(_open, kind=Kind.PLAYABLE).exists():
        with _source(recording) as source:
            _make(Kind.PLAYABLE, recording, source, reader)


def unsettled() -> Iterator[str]:
    """Complete recordings that were not derived from yet, or of which this version may make more."""
    of_it = Derived.objects.filter(recording=OuterRef("pk"))
    peaks, again = of_it.filter(kind=Kind.PEAKS), of_it.filter(_open).exclude(kind=Kind.PLAYABLE)
    return _keys(Recording.objects.filter(~Exists(peaks) | Exists(again), status=Recording.Status.COMPLETE), "pk")


def unplayable() -> Iterator[str]:
    """Recordings whose playable form is to be made."""
    return _keys(Derived.objects.filter(_open, kind=Kind.PLAYABLE), "recording_id")


def _keys(rows: Any, name: str) -> Iterator[str]:
    """In their order, a few at a time: what is done with them takes hours."""
    last = ""
    while found := list(rows.filter(**{f"{name}__gt": last}).order_by(name).values_list(name, flat=True)[:CHUNK]):
        yield from found
        last = found[-1]


def _complete(recording_id: str) -> Recording | None:
    return _recordings.first(id=recording_id, status=Recording.Status.COMPLETE)


@contextmanager
def _source(recording: Recording) -> Iterator[Path | None]:
    """The file of its bytes; None where they are gone."""
    try:
        file = storage().open(recording.key)
    except NotStored:
        yield None
        return
    with file:
        yield Path(file.name)


def _asked(reader: Asks, kind: str, recording: Recording, source: Path | None, **more: Any) -> dict[str, Any]:
    if source is None:
        return {"failed": "its bytes are gone"}
    tracks = {"audio_track": recording.audio_track, "video_track": recording.video_track}
    return reader.ask(kind, source, media_type=recording.media_type, **tracks, **more)


def _measure(recording: Recording, source: Path | None, reader: Asks) -> None:
    """How long it lasts, where nobody counted its samples: a film without sound has none."""
    seconds = _asked(reader, "length", recording, source).get("seconds")
    Recording.objects.filter(pk=recording.pk).update(duration_s=seconds)


def _make(kind: Derived.Kind, recording: Recording, source: Path | None, reader: Asks) -> None:
    # Beside what arrives: on the disk of what is kept, and needing no copy.
    folder = storage().staging.root / ".derived"
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{recording.pk}.{kind}"
    try:
        made = _asked(reader, kind, recording, source, target=str(target))
        if "failed" in made:
            log.warning("no %s of recording %s: %s", kind.label.lower(), recording.pk, made["failed"])
            _note(recording, kind, made_by=f"{MAKER}: {made['failed']}")
            return
        key = f"{recording.key.rpartition('.')[0]}.{kind}.{EXTENSIONS[made['media_type']]}"
        storage().store.put(key, target)
        if not _note(recording, kind, made_by=MAKER, key=key, store=storage().store.name, **made):
            storage().store.delete(key)
    finally:
        target.unlink(missing_ok=True)


def _note(recording: Recording, kind: Derived.Kind, *, made_by: str, **made: Any) -> bool:
    """Writes the row; False where the recording was deleted meanwhile."""
    row: dict[str, Any] = dict.fromkeys(("media_type", "store", "key", "sha256"), "")
    row |= {"size": 0, "project_id": recording.project_id} | made | {"made_by": stored(made_by)[:200]}
    place = {"recording_id": recording.pk, "kind": kind}
    try:
        with transaction.atomic():
            _derived.insert([place | row], unique=[*place], update=[*row])
    except IntegrityError:
        return False
    return True


_deriver: Deriver | None = None


def start() -> Callable[[], None]:
    """Derives from now on; gives what stops it."""
    global _deriver
    deriver = _deriver = Deriver()
    deriver.start()

    def stop() -> None:
        global _deriver
        if _deriver is deriver:
            _deriver = None
        deriver.stop()

    return stop


def tell(recording: Recording) -> None:
    """That it is complete. Without a deriver in this process the next start of a server finds it."""
    if _deriver is not None:
        _deriver.tell(recording.pk)
