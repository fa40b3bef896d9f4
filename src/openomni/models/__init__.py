"""The models that components load: a catalogue of where they come from, and a cache that is filled once."""

from __future__ import annotations

from .catalogue import Catalogue, Model, ModelError, cache_folder, load_catalogue
from .fetch import ensure, is_present, locate, pull, verify
from .loaded import LoadedFile, contents, note, noting
from .progress import Progress

__all__ = [
    "Catalogue",
    "LoadedFile",
    "Model",
    "ModelError",
    "Progress",
    "cache_folder",
    "contents",
    "ensure",
    "is_present",
    "load_catalogue",
    "locate",
    "note",
    "noting",
    "pull",
    "verify",
]
