"""The disk under this server's data."""

from __future__ import annotations

import shutil

from django.conf import settings


def free() -> int:
    """Bytes."""
    folder = next(each for each in (settings.DATA_DIR, *settings.DATA_DIR.parents) if each.exists())
    return shutil.disk_usage(folder).free
