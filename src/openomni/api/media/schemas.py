"""A recording as JSON: the same over REST and in exports."""

from __future__ import annotations

from ninja import Field, Schema

from ..records.models import Recording


class RecordingOut(Schema):
    """A recording; `received` bytes of it are on disk, `samples` are known so far. It begins at `position` on the
    session's axis (samples at 16 kHz). `started_at` is Unix time."""

    recording_id: str = Field(alias="pk")
    kind: str
    media_type: str
    session_id: str | None
    turn_id: str
    site: str
    device: str
    made_by: str
    participant: str
    consent: str
    source: str
    rate: int | None
    samples: int | None
    position: int
    audio_track: int | None
    video_track: int | None
    seconds: float | None
    received: int
    status: str
    sha256: str
    started_at: float | None

    @staticmethod
    def resolve_started_at(row: Recording) -> float | None:
        return row.started_at.timestamp() if row.started_at else None
