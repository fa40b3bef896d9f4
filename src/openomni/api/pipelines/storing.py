"""How a pipeline's content becomes a version: the same rule for REST and for the editor."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from django.db import transaction

from ...pipeline import spec as pipeline_spec
from ..ground.errors import Refusal, bad_request, conflict
from . import catalogue
from .models import Pipeline, PipelineVersion, version_of

TAKEN_NAMES = ("new", "check", ".", "..")
"""Those that the address of a page can't hold."""


class Changed(Refusal):
    """Somebody else stored it since the writer last saw it (409)."""


@dataclass(frozen=True, slots=True)
class StoredPipeline:
    """What storing did. `made`: a version that was not there before; `brought_back`: an older one is current again."""

    version: PipelineVersion
    made: bool
    brought_back: bool


def seal(number: int | None, text: str) -> str:
    """Of the version that a writer has seen: it differs as soon as the current one or its text does; empty for none."""
    return "" if number is None else f"{number}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def store(
    project_id: str, pipeline: pipeline_spec.Pipeline, text: str = "", by: int | None = None, seen: str | None = None
) -> StoredPipeline:
    """Makes the content the current version, and a new one when its hash is. A text that says the same in other words
    or with other comments takes the place of the version's.

    `seen` is the `seal` of what the writer began with; None stores in any case. Raises `Refusal` (a name that can't be
    had) and `Changed`.
    """
    name = pipeline.name
    if name in catalogue.builtin():
        conflict(f"{name!r} is built in; give yours another name")
    if name in TAKEN_NAMES:
        bad_request(f"a pipeline can't be called {name!r}; take another name")
    with transaction.atomic():
        row, _ = Pipeline.objects.get_or_create(project_id=project_id, name=name)
        current = Pipeline.objects.select_for_update().get(pk=row.pk).current
        if seen is not None and seen != (seal(current.number, current.text) if current else ""):
            raise Changed(409, f"{name!r} was stored by somebody else meanwhile; look at what they changed first")
        made = not row.versions.filter(hash=pipeline.hash).exists()
        version = version_of(project_id, name, pipeline.hash, pipeline.normalised(), text, by=by)
        if text and version.text != text:
            version.text = text
            version.save(update_fields=["text"])
        Pipeline.objects.filter(pk=row.pk).update(current=version, description=pipeline.description)
        return StoredPipeline(version, made, brought_back=not made and current is not None and current.pk != version.pk)
