"""Takes the bytes of deleted recordings, and of what was derived from them, out of the store.

That they are to go is written in the transaction that deletes their row; they go when that is sure. A store that is
away is asked again until it has forgotten them, by a server that was started anew too.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import timedelta

from django.db import DatabaseError, connections, transaction
from django.utils import timezone

from ...storage import StorageError
from ..records.models import Derived, Recording
from .models import DroppedMedia
from .store import storage

log = logging.getLogger("openomni.api.media")

EVERY = 30.0
"""Seconds between looks for what could not be forgotten, or what a server that died had left."""
FIRST_PAUSE, LONGEST_PAUSE = timedelta(minutes=1), timedelta(hours=1)
BATCH = 100


def drop(row: Recording | Derived) -> None:
    """The bytes of a row that is being deleted are to go."""
    if not row.key:
        return
    key = row.key
    DroppedMedia.objects.update_or_create(key=key, defaults={"project": row.project_id, "again_at": timezone.now()})
    # Whatever goes wrong then has a row already.
    transaction.on_commit(lambda: forget(key), robust=True)


def forget(key: str) -> None:
    """Has the store forget it; what it can't now is tried again."""
    rows = DroppedMedia.objects.filter(pk=key)
    row = rows.first()
    if row is None:
        return
    if not _is_wanted(key):
        try:
            storage().delete(key)
        except (StorageError, OSError) as error:
            pause = min(FIRST_PAUSE * 2 ** min(row.tries, 10), LONGEST_PAUSE)
            rows.update(tries=row.tries + 1, fault=str(error)[:500], again_at=timezone.now() + pause)
            log.warning("%s was deleted and still lies in the store: %s; again in %s", key, error, pause)
            return
    rows.delete()


def sweep() -> int:
    """Tries what is due; gives how many that were."""
    due = DroppedMedia.objects.filter(again_at__lte=timezone.now()).order_by("again_at")
    keys = list(due.values_list("pk", flat=True)[:BATCH])
    for key in keys:
        forget(key)
    return len(keys)


def _is_wanted(key: str) -> bool:
    """Whether a row has come since that names it: its maker sends it again."""
    recording_id = key.rpartition("/")[2].partition(".")[0]
    return (
        Recording.objects.filter(pk=recording_id, key=key).exists()
        or Derived.objects.filter(recording_id=recording_id, key=key).exists()
    )


def start() -> Callable[[], None]:
    """Sweeps from now on; gives what stops it."""
    stopped = threading.Event()

    def run() -> None:
        while not stopped.is_set():
            try:
                while sweep() == BATCH and not stopped.is_set():
                    pass
            except DatabaseError as error:
                log.error("deleted media are not looked for: %s; again in %.0f s", error, EVERY)
            connections.close_all()
            stopped.wait(EVERY)

    thread = threading.Thread(target=run, name="dropping media", daemon=True)
    thread.start()

    def stop() -> None:
        stopped.set()
        thread.join()

    return stop
