"""Datasets as others of the API read them: a version by its name, and its samples as values."""

from __future__ import annotations

import msgspec

from ...datasets import Sample
from ..ground.caller import Caller
from ..ground.errors import not_found
from ..ground.scoping import ProjectQuerySet
from .models import Dataset, DatasetSample, DatasetVersion


def datasets_of(caller: Caller) -> ProjectQuerySet[Dataset]:
    """Those of the caller's project; what is still being sent is not among them."""
    return Dataset.objects.of_caller(caller).filter(draft=False)


def version_named(caller: Caller, text: str) -> DatasetVersion:
    """The newest version of "NAME", or that of "NAME@2". Raises Refusal, 404, with the nearest name."""
    name, at, number = text.partition("@")
    rows = DatasetVersion.objects.of_caller(caller).filter(dataset__draft=False, dataset__name=name)
    rows = rows.select_related("dataset").order_by("-number")
    newest: DatasetVersion | None = rows.first()
    if newest is None:
        not_found("dataset", name, datasets_of(caller).values_list("name", flat=True))
    if not at:
        return newest
    wanted = (
        rows.filter(number=int(number)).first() if number.isascii() and number.isdigit() and len(number) < 9 else None
    )
    return wanted or not_found(
        f"version of dataset {name!r} called", number, map(str, rows.values_list("number", flat=True))
    )


def samples_of(version: DatasetVersion) -> list[tuple[DatasetSample, Sample]]:
    """The samples of a version that are there, in their order, each with its row. Paths are ids of recordings."""
    rows = DatasetSample.objects.filter(version=version).order_by("position")
    return [(row, value_of(row)) for row in rows.iterator(chunk_size=1000)]


def value_of(row: DatasetSample) -> Sample:
    """The sample that a row keeps."""
    return msgspec.convert(row.content, Sample)
