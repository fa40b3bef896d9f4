"""The pages of datasets: all of them, and one with its sheet and its samples, which can be listened to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import Any

from django.db.models import Count, Prefetch
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.safestring import SafeString
from django.views.decorators.http import require_safe

from ...datasets import AfterPause, AfterReply, AtTime, IntoReply, Utterance
from ..ground.caller import Caller
from ..ground.errors import Refusal
from ..ground.paging import Paging
from ..ground.paging import page as paged
from ..look.project_page import here, page
from ..records.models import Recording
from ..records.players import player
from .models import DatasetSample, DatasetVersion
from .reading import datasets_of, value_of, version_named
from .recognised import wer_of_local
from .schemas import VERSIONS, DatasetOut

PER_PAGE = 25
UTTERANCES = 20
"""Of a dialogue, the first, that its line shows."""
VALUES = 12
"""Of one field, the most frequent, that the sheet shows."""
COUNTED = (("speakers", "Speakers"), ("languages", "Languages"), ("emotions", "Emotions"), ("consent", "Consent"))


@dataclass(frozen=True, slots=True)
class Said:
    """An utterance on the page: what is said, what is known of it, and its sound."""

    utterance: Utterance
    when: str
    player: SafeString

    @property
    def about(self) -> str:
        known = (self.utterance.speaker, self.utterance.language, self.utterance.emotion, self.utterance.consent)
        return " · ".join(filter(None, known))

    @property
    def heard(self) -> str:
        """What a recogniser made of it, where nobody said what is right."""
        heard = self.utterance.fields.get("heard", "")
        return heard if isinstance(heard, str) and self.utterance.text is None else ""


@dataclass(frozen=True, slots=True)
class Counted:
    """What a sheet counts of one field."""

    title: str
    values: list[tuple[str, int]]
    more: int
    unknown: int


def says_what_is_missing(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """A name that no dataset has gets a page with the nearest one."""

    @wraps(view)
    def shown(request: HttpRequest, *args: Any, **options: Any) -> HttpResponse:
        try:
            return view(request, *args, **options)
        except Refusal as refusal:
            context = {"reason": str(refusal), "section": "datasets"}
            return render(request, "datasets/missing.html", context, status=refusal.status_code)

    return shown


@page()
@require_safe
@says_what_is_missing
def datasets(request: HttpRequest) -> HttpResponse:
    """All of the project, by name."""
    versions = DatasetVersion.objects.order_by("-number").defer("sheet", "derivation", "source")
    rows = datasets_of(_caller(request)).prefetch_related(Prefetch("versions", versions))
    found = paged(rows, _paging(request), "name")
    context = {"rows": [DatasetOut.of(row) for row in found["items"]], "next": found["next"], "section": "datasets"}
    return render(request, "datasets/datasets.html", context)


@page()
@require_safe
@says_what_is_missing
def dataset(request: HttpRequest, name: str) -> HttpResponse:
    """One version, the newest, or that of `?version=`: its sheet, its samples in pages, and what was run on it."""
    number = request.GET.get("version", "")
    version = version_named(_caller(request), f"{name}@{number}" if number else name)
    found = paged(DatasetSample.objects.filter(version=version), _paging(request), "position")
    context = {
        "version": version,
        "versions": version.dataset.versions.order_by("-number")[:VERSIONS],
        "counted": [_counted(title, version.sheet.get(key)) for key, title in COUNTED if version.sheet.get(key)],
        "recognised": wer_of_local(version),
        "samples": _shown(version, found["items"]),
        "next": found["next"],
        "later": bool(request.GET.get("cursor")),
        "experiments": version.experiments.annotate(count=Count("cells")).order_by("-created_at")[:VERSIONS],
        "section": "datasets",
    }
    return render(request, "datasets/dataset.html", context)


def _shown(version: DatasetVersion, rows: list[DatasetSample]) -> list[dict[str, Any]]:
    values = [(row, value_of(row)) for row in rows]
    ids = {each.sound.path for _, sample in values for each in sample.utterances[:UTTERANCES]}
    recordings = Recording.objects.filter(project_id=version.project_id).prefetch_related("derived").in_bulk(list(ids))
    return [
        {
            "row": row,
            "dialogue": sample.is_dialogue,
            "said": [_said(each, index, recordings) for index, each in enumerate(sample.utterances[:UTTERANCES])],
            "more": max(len(sample.utterances) - UTTERANCES, 0),
        }
        for row, sample in values
    ]


def _said(utterance: Utterance, index: int, recordings: Mapping[str, Recording]) -> Said:
    sound = utterance.sound
    recording = recordings.get(sound.path)
    end = sound.end
    if end is None and sound.start and recording is not None:
        end = recording.seconds
    heard = player(recording, sound.start, end) if end is not None else player(recording)
    return Said(utterance, _when(utterance) if index or isinstance(utterance.when, AtTime) else "", heard)


def _when(utterance: Utterance) -> str:
    match utterance.when:
        case AfterReply(seconds=seconds):
            return f"{seconds:g} s after the reply" if seconds else "after the reply"
        case AfterPause(seconds=seconds):
            return f"after a pause of {seconds:g} s"
        case IntoReply(word=word):
            return f"into the reply, at word {word}"
        case AtTime(seconds=seconds):
            return f"at {seconds:g} s"


def _counted(title: str, counts: Mapping[str, Any]) -> Counted:
    values = list(counts["utterances"].items())
    return Counted(title, values[:VALUES], counts["known"] - len(values[:VALUES]), counts["unknown"])


def _caller(request: HttpRequest) -> Caller:
    return Caller(here(request).project, frozenset())


def _paging(request: HttpRequest) -> Paging:
    # What is no cursor is refused where it is read.
    return Paging.model_construct(cursor=request.GET.get("cursor", ""), limit=PER_PAGE)
