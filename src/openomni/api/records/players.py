"""Players for recordings, for pages: nothing is loaded before somebody presses play."""

from __future__ import annotations

from django.utils.html import format_html
from django.utils.safestring import SafeString

from .models import Derived, Recording

_UNPLAYABLE = ("pcm", "bin", "zip")


def content_url(project_id: str, recording_id: str) -> str:
    """Where a player gets the bytes, with the cookie of a member of the project."""
    return f"/api/v1/recordings/{recording_id}/content?project={project_id}"


def derived_url(recording_id: str, kind: str, project_id: str = "") -> str:
    """Where something that was made of a recording is: for a token, or for a member of the project."""
    project = f"?project={project_id}" if project_id else ""
    return f"/api/v1/recordings/{recording_id}/derived/{kind}{project}"


def player(recording: Recording | None, start: float | None = None, end: float | None = None) -> SafeString:
    """An <audio> or <video> of the recording, or of its seconds from `start` to `end`; a line where there is none. Of
    one that browsers don't play it is of the form that was made for them."""
    if recording is None or not recording.received:
        return SafeString("<span>nothing received yet</span>")
    url, media_type = content_url(recording.project_id, recording.pk), recording.media_type
    made = next((each for each in recording.derived.all() if each.kind == Derived.Kind.PLAYABLE and each.key), None)
    if made is not None:
        url, media_type = derived_url(recording.pk, made.kind, recording.project_id), made.media_type
    source = f"{url}#t={start:.3f},{end:.3f}" if start is not None and end is not None else url
    if media_type.startswith("image/"):
        return format_html('<img src="{}" alt="" loading="lazy" class="kept-picture">', source)
    if made is None and recording.key.rpartition(".")[2] in _UNPLAYABLE:
        return format_html('<a href="{}" download>download</a>', url)
    if media_type.startswith("video/"):
        return format_html('<video controls preload="none" src="{}" class="kept-video"></video>', source)
    return sound(source)


def sound(url: str) -> SafeString:
    """An <audio> of what is at this address."""
    return format_html('<audio controls preload="none" src="{}" class="kept-sound"></audio>', url)
