"""Deleted recordings: their bytes go with them, at once or when the store is back, and nothing else does."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from api.support import Api
from openomni.api.accounts.models import Project
from openomni.api.media import dropping, rest
from openomni.api.media.models import DroppedMedia
from openomni.api.media.store import storage
from openomni.api.records.models import Derived, Recording
from openomni.api.start import checks
from openomni.storage import StorageError

OnCommit = Callable[..., Any]


@pytest.fixture
def media(settings: Any) -> Callable[[], list[str]]:
    """The names of all files that are kept."""

    def names() -> list[str]:
        return sorted(each.name for each in Path(settings.MEDIA_ROOT).rglob("*") if each.is_file())

    return names


def put(api: Api, key: str, complete: bool = True) -> Recording:
    content = b"RIFF of " + key.encode()
    api("PUT", f"/recordings/{key}", {"media_type": "audio/flac"})
    api("PATCH", f"/recordings/{key}?offset=0", content)
    if complete:
        seal = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
        api("POST", f"/recordings/{key}/complete", seal)
    return Recording.objects.get(pk=key)


def away(monkeypatch: pytest.MonkeyPatch) -> None:
    """The store answers nobody."""

    def delete(key: str) -> None:
        raise StorageError("the store does not answer")

    monkeypatch.setattr(storage().store, "delete", delete)


def test_the_bytes_of_a_deleted_recording_go_once_that_is_sure(
    admin: Api, media: Callable[[], list[str]], django_capture_on_commit_callbacks: OnCommit
) -> None:
    for key in ("whole", "coming", "stays"):
        put(admin, key, complete=key != "coming")
    assert media() == ["coming.flac.part", "stays.flac", "whole.flac"]
    with django_capture_on_commit_callbacks(execute=True):
        with transaction.atomic():
            Recording.objects.get(pk="stays").delete()
            transaction.set_rollback(True)
        Recording.objects.exclude(pk="stays").delete()
        assert len(media()) == 3
    assert media() == ["stays.flac"]
    assert not DroppedMedia.objects.exists()


def test_so_do_those_of_a_project_that_is_deleted(
    admin: Api, project: Project, media: Callable[[], list[str]], django_capture_on_commit_callbacks: OnCommit
) -> None:
    recording = put(admin, "whole")
    storage().write("home/whole.peaks.dat", 0, b"peaks")
    Derived.objects.create(
        project=project, recording=recording, kind="peaks", media_type="x/y", store="volume",
        key="home/whole.peaks.dat", size=5, sha256="", made_by="x",
    )  # fmt: skip
    with django_capture_on_commit_callbacks(execute=True):
        project.delete()
    assert media() == []


def test_a_store_that_is_away_is_asked_again_and_it_is_told(
    admin: Api, project: Project, media: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch,
    django_capture_on_commit_callbacks: OnCommit,
) -> None:  # fmt: skip
    recording = put(admin, "whole")
    with monkeypatch.context() as gone, django_capture_on_commit_callbacks(execute=True):
        away(gone)
        recording.delete()
    with monkeypatch.context() as gone:
        away(gone)
        dropping.forget(recording.key)
    assert media() == ["whole.flac"]
    (finding,) = (each for each in checks.look(project.pk, "http://lab").findings if each.what == "Deleted media")
    assert finding.line == "1 deleted file still lies in the store: the store does not answer"
    assert dropping.sweep() == 0, "it isn't due yet"
    DroppedMedia.objects.update(again_at=timezone.now() - timedelta(seconds=1))
    assert dropping.sweep() == 1
    assert (media(), DroppedMedia.objects.count()) == ([], 0)
    assert all(each.what != "Deleted media" for each in checks.look(project.pk, "http://lab").findings)


def test_what_a_server_that_died_had_left_goes_at_the_next_start(
    admin: Api, media: Callable[[], list[str]], django_capture_on_commit_callbacks: OnCommit
) -> None:
    with django_capture_on_commit_callbacks(execute=False):
        put(admin, "whole").delete()
    assert media() == ["whole.flac"]
    dropping.sweep()
    assert media() == []


def test_one_that_its_maker_sends_again_stays(
    admin: Api, media: Callable[[], list[str]], django_capture_on_commit_callbacks: OnCommit
) -> None:
    with django_capture_on_commit_callbacks(execute=False):
        put(admin, "whole").delete()
    Recording.objects.create(id="whole", project_id="home", key=DroppedMedia.objects.get().key)
    dropping.sweep()
    assert (media(), DroppedMedia.objects.count()) == (["whole.flac"], 0)


@pytest.mark.parametrize("last", [False, True])
def test_what_comes_while_its_recording_is_deleted_does_not_stay(
    admin: Api, media: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch, last: bool,
    django_capture_on_commit_callbacks: Any,
) -> None:  # fmt: skip
    put(admin, "coming", complete=False)
    stored = rest._stored

    def deleted_first(row: Recording, *more: Any) -> Any:
        with django_capture_on_commit_callbacks(execute=True):
            Recording.objects.filter(pk=row.pk).delete()
        assert DroppedMedia.objects.count() == 0
        return stored(row, *more)

    monkeypatch.setattr(rest, "_stored", deleted_first)
    begun = b"RIFF of coming"
    seal = f"&sha256={hashlib.sha256(begun + b'more').hexdigest()}" if last else ""
    with django_capture_on_commit_callbacks(execute=True):
        admin.error("PATCH", f"/recordings/coming?offset=0{seal}", begun + b"more", status=404)
    assert media() == []
