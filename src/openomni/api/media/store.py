"""Where the bytes of recordings are kept."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from django.conf import settings

from ...storage.staging import Staging
from ...storage.storage import Storage
from ...storage.volume import Volume


def storage() -> Storage:
    """Where the bytes of recordings are."""
    return _storage(str(settings.MEDIA_ROOT))


@cache
def _storage(root: str) -> Storage:
    # A name with which no key begins: what arrives lies on the same disk as what is kept, and needs no copy.
    return Storage(Staging(Path(root) / ".incoming"), Volume(root))
