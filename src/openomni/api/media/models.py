from __future__ import annotations

import re
from datetime import datetime
from functools import cache
from pathlib import Path

from django.conf import settings
from django.db import models
from django.utils import timezone

from ...storage.staging import Staging
from ...storage.storage import Storage
from ...storage.volume import Volume
from ..conversations.models import Recorded, Session

_EXTENSIONS = {
    "application/octet-stream": "bin",
    "audio/flac": "flac",
    "audio/mp4": "m4a",
    "audio/mpeg": "mp3",
    "audio/ogg": "ogg",
    "audio/pcm": "pcm",
    "audio/wav": "wav",
    "audio/webm": "weba",
    "audio/x-wav": "wav",
    "image/jpeg": "jpg",
    "image/png": "png",
    "video/mp4": "mp4",
    "video/quicktime": "mov",
    "video/webm": "webm",
    "video/x-matroska": "mkv",
    "video/x-msvideo": "avi",
}


def takes(media_type: str) -> bool:
    """Whether recordings may be of this type: sound, video and plain pictures, none of which a browser runs."""
    return media_type in _EXTENSIONS or re.fullmatch(r"(audio|video)/[a-z0-9.+-]{1,80}", media_type) is not None


def content_url(project_id: str, recording_id: str) -> str:
    """Where a player gets the bytes, with the cookie of a member of the project."""
    return f"/api/v1/recordings/{recording_id}/content?project={project_id}"


def storage() -> Storage:
    """Where the bytes of recordings are."""
    return _storage(str(settings.MEDIA_ROOT))


@cache
def _storage(root: str) -> Storage:
    # A name with which no key begins: what arrives lies on the same disk as what is kept, and needs no copy.
    return Storage(Staging(Path(root) / ".incoming"), Volume(root))


class Recording(Recorded):
    """A media file as captured, or a reply as spoken. Its id is made by who captured it.

    The row may be there before the first byte: somebody told of it, and the bytes are on their way.
    """

    limits = {"site": ("site", "session__site"), "device": ("device", "session__device")}

    class Kind(models.TextChoices):
        AUDIO = "audio"
        VIDEO = "video"
        REPLY = "reply"

    class Status(models.TextChoices):
        AWAITED = "awaited"
        RECEIVING = "receiving"
        COMPLETE = "complete"

    kind = models.CharField(max_length=10, choices=Kind.choices, default=Kind.AUDIO)
    media_type = models.CharField(max_length=100, default="audio/wav")
    session = models.ForeignKey(Session, null=True, blank=True, on_delete=models.RESTRICT, related_name="recorded")
    turn_id = models.CharField(max_length=64, blank=True, db_index=True)
    site = models.CharField(max_length=40, blank=True)
    device = models.CharField(max_length=40, blank=True)
    source = models.TextField(blank=True)
    rate = models.PositiveIntegerField(null=True, blank=True)
    samples = models.PositiveBigIntegerField(null=True, blank=True)
    position = models.PositiveBigIntegerField(default=0)
    """Where its first sample lies on the session's axis (samples at 16 kHz)."""
    received = models.PositiveBigIntegerField(default=0)
    """Bytes on disk so far."""
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.AWAITED)
    sha256 = models.CharField(max_length=64, blank=True)
    key = models.CharField(max_length=200, blank=True, editable=False)
    started_at = models.DateTimeField(null=True, blank=True)
    completed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-created_at", "id")
        indexes = [
            models.Index(fields=["project", "-created_at"], name="recording_by_time"),
            models.Index(fields=["project", "status", "created_at"], name="recording_by_status"),
        ]

    @property
    def seconds(self) -> float | None:
        """How long it lasts as far as it is known."""
        return self.samples / self.rate if self.samples is not None and self.rate else None

    def place(self) -> str:
        """The storage key that its bytes go under: `<project>/<year>/<month>/<id>.<extension>`."""
        began: datetime = self.started_at or timezone.now()
        return f"{self.project_id}/{began:%Y/%m}/{self.pk}.{_EXTENSIONS.get(self.media_type, 'bin')}"
