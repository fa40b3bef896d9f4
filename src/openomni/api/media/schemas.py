"""A recording as JSON: the same over REST and in exports."""

from __future__ import annotations

from ninja import Field, Schema

from ..records.models import Recording
from ..records.players import derived_url


class DerivedOut(Schema):
    """What was made of a recording, at `url`: `peaks`, a `thumbnail`, or a `playable` form."""

    kind: str
    media_type: str
    size: int
    sha256: str
    url: str


class RecordingOut(Schema):
    """A recording; `received` bytes of it are on disk, `samples` are known so far. It begins at `position` on the
    session's axis (samples at 16 kHz). `started_at` is Unix time."""

    recording_id: str = Field(alias="pk")
    kind: Recording.Kind
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
    status: Recording.Status
    sha256: str
    started_at: float | None
    derived: list[DerivedOut]

    @staticmethod
    def resolve_derived(row: Recording) -> list[dict[str, object]]:
        if row.status != Recording.Status.COMPLETE:
            return []
        made = [each for each in row.derived.all() if each.key]
        return [
            {"kind": each.kind, "media_type": each.media_type, "size": each.size, "sha256": each.sha256,
             "url": derived_url(row.pk, each.kind)}
            for each in made
        ]  # fmt: skip

    @staticmethod
    def resolve_started_at(row: Recording) -> float | None:
        return row.started_at.timestamp() if row.started_at else None
