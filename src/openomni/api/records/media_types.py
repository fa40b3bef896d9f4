"""Which types of media a recording may have, and what the files of each are called."""

from __future__ import annotations

import re

EXTENSIONS = {
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
    return media_type in EXTENSIONS or re.fullmatch(r"(audio|video)/[a-z0-9.+-]{1,80}", media_type) is not None
