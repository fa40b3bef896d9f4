"""Keeps datasets: samples come in parts, and are frozen under a version when all of them are there.

The same content is the same version, whoever sends it and how often; another content gets the next number. A part is a
short transaction, and so is freezing: a dataset of 100,000 samples keeps nobody from writing.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import msgspec
from django.db import transaction
from django.db.models import Max
from django.utils import timezone

from ...datasets import Sample, sample_hash
from ...datasets.samples import MAX_SAMPLES
from ..ground.caller import Caller
from ..ground.errors import Refusal, conflict, not_found
from ..records.models import Recording
from .models import Dataset, DatasetSample, DatasetUtterance, DatasetVersion
from .reading import value_of
from .sheets import tally

PART = 1000
"""Samples of one part."""
DRAFTS = 20
"""That a project may have at once; those that nothing came to for `STALE` go."""
STALE = timedelta(days=1)
SLACK_S = 0.05
"""Seconds by which a stretch may reach over its recording's end: manifests round."""
HEARD = (Recording.Kind.AUDIO, Recording.Kind.VIDEO, Recording.Kind.REPLY)
CHUNK = 500
"""Ids in one query."""


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What is said of a version beside its samples. `hash`: what its maker computed, where they did."""

    name: str
    source: str = ""
    derived_from: DatasetVersion | None = None
    derivation: Mapping[str, Any] = field(default_factory=dict)
    hash: str = ""


def keep(
    caller: Caller, draft: str, samples: Sequence[Sample], about: About, pairs: Mapping[str, str]
) -> DatasetVersion:
    """All at once, whatever their number; where one is refused, none is left. Raises Refusal as `add` does."""
    try:
        for start in range(0, len(samples), PART):
            add(caller, draft, start, samples[start : start + PART], pairs)
        return freeze(caller, draft, about)
    except Refusal:
        Dataset.objects.filter(project_id=caller.project_id, draft=True, name=_name(draft)).delete()
        raise


def add(caller: Caller, draft: str, offset: int, samples: Sequence[Sample], pairs: Mapping[str, str]) -> int:
    """Adds a part to a draft, whose first part makes it, and gives how many samples it has then. `pairs`: by id of a
    sample, that of the one that it was made of. A part that is there already changes nothing.

    Raises Refusal: 404 for a recording that is not there, 409 for one that is incomplete, for an id that comes twice,
    and for a part that does not begin where the draft ends (`received`).
    """
    if offset + len(samples) > MAX_SAMPLES:
        raise Refusal(422, f"a dataset has at most {MAX_SAMPLES:,} samples; split it")
    recordings = _recordings(caller, {each.sound.path for sample in samples for each in sample.utterances})
    rows = [_row(sample, recordings, pairs) for sample in samples]
    with transaction.atomic():
        version = _locked(caller, draft, make=offset == 0)
        if version is None:
            not_found("draft of a dataset", draft)
        have = version.rows.count()
        if have != offset:
            known = version.rows.order_by("position")[offset : offset + len(rows)].values_list("hash", flat=True)
            if offset + len(rows) <= have and list(known) == [row.hash for row in rows]:
                return have
            conflict(f"draft {draft} holds {have} samples; go on from there", received=have)
        _check_ids(version, [row.sample_id for row in rows])
        for place, row in enumerate(rows, offset):
            row.project_id, row.version, row.position = caller.project_id, version, place
        DatasetSample.objects.bulk_create(rows)
        DatasetUtterance.objects.bulk_create(_utterances(rows, samples, recordings))
    return offset + len(rows)


def freeze(caller: Caller, draft: str, about: About) -> DatasetVersion:
    """Makes a version of a draft: that of the same hash where there is one, else the next.

    Raises Refusal: 404 for a draft that is not there, and was not frozen as this before; 409 for another hash than
    promised, and where a sample went meanwhile, for somebody was erased.
    """
    version = DatasetVersion.objects.filter(**_of_draft(caller, draft)).first()
    if version is None:
        return _frozen_before(caller, about) or not_found("draft of a dataset", draft)
    digests = sorted(version.rows.values_list("hash", flat=True))
    digest = hashlib.sha256("".join(digests).encode()).hexdigest()
    if not digests:
        raise Refusal(422, "a dataset has at least one sample; send some")
    if about.hash not in ("", digest):
        conflict(f"its hash is {digest}, and {about.hash} was promised; send its samples again")
    heard_in = DatasetUtterance.objects.filter(sample__version=version).order_by().values("recording").distinct()
    counted = tally((value_of(row), row.seconds) for row in version.rows.iterator(chunk_size=PART))
    with transaction.atomic():
        held = _locked(caller, draft)
        if held is None:
            return _frozen_before(caller, about) or not_found("draft of a dataset", draft)
        if held.rows.count() != len(digests):
            conflict("it changed while it was frozen; send it again")
        dataset, _ = Dataset.objects.get_or_create(project_id=caller.project_id, name=about.name)
        dataset = Dataset.objects.select_for_update().get(pk=dataset.pk)
        known: DatasetVersion | None = dataset.versions.filter(hash=digest).first()
        if known is None:
            known = version
            version.number = (dataset.versions.aggregate(last=Max("number"))["last"] or 0) + 1
            version.hash, version.samples, version.seconds = digest, len(digests), counted.seconds
            version.sheet, version.source = counted.sheet(heard_in.count()), about.source
            version.derived_from, version.derivation = about.derived_from, dict(about.derivation)
            version.created_by = caller.user_name or caller.token_id
            draft_of, version.dataset = version.dataset, dataset
            version.save()
        else:
            draft_of = held.dataset
        draft_of.delete()
    return known


def _frozen_before(caller: Caller, about: About) -> DatasetVersion | None:
    """What an earlier try of the same request made, whose answer was lost."""
    if not about.hash:
        return None
    rows = DatasetVersion.objects.of_caller(caller).filter(dataset__draft=False, dataset__name=about.name)
    return rows.filter(hash=about.hash).select_related("dataset").first()


def _of_draft(caller: Caller, draft: str) -> dict[str, Any]:
    return {"project_id": caller.project_id, "dataset__draft": True, "dataset__name": _name(draft)}


def _name(draft: str) -> str:
    """No dataset has such a name."""
    return f"/{draft}"


def _locked(caller: Caller, draft: str, make: bool = False) -> DatasetVersion | None:
    """The version that is to be of a draft, for nobody else until the transaction ends."""
    drafts = Dataset.objects.filter(project_id=caller.project_id, draft=True)
    if make and not drafts.filter(name=_name(draft)).exists():
        drafts.filter(created_at__lt=timezone.now() - STALE).delete()
        if drafts.count() >= DRAFTS:
            raise Refusal(
                429, f"this project has {DRAFTS} datasets that are still being sent; finish one of them first"
            )
        new, _ = Dataset.objects.get_or_create(project_id=caller.project_id, name=_name(draft), draft=True)
        DatasetVersion.objects.get_or_create(project_id=caller.project_id, dataset=new, number=0, samples=0)
    dataset = drafts.select_for_update().filter(name=_name(draft)).first()
    return None if dataset is None else DatasetVersion.objects.select_related("dataset").get(dataset=dataset)


def _recordings(caller: Caller, ids: Collection[str]) -> dict[str, Recording]:
    found: dict[str, Recording] = {}
    for some in _chunks(sorted(ids)):
        found |= {row.pk: row for row in Recording.objects.of_caller(caller).filter(pk__in=some)}
    for key in sorted(ids):
        recording = found.get(key) or not_found("recording", key)
        if recording.kind not in HEARD:
            raise Refusal(422, f"recording {key} is a picture, and nothing is said in it; name one of sound or video")
        if recording.status != Recording.Status.COMPLETE:
            conflict(f"recording {key} is still being uploaded; send the samples when it is complete")
    return found


def _row(sample: Sample, recordings: Mapping[str, Recording], pairs: Mapping[str, str]) -> DatasetSample:
    return DatasetSample(
        sample_id=sample.id,
        group=sample.group,
        hash=sample_hash(sample, {key: row.sha256 for key, row in recordings.items()}),
        seconds=sum(_seconds(sample.id, each, recordings[each.sound.path]) for each in sample.utterances),
        needs_realtime=sample.needs_realtime,
        pair=pairs.get(sample.id, ""),
        content=msgspec.to_builtins(sample),
    )


def _seconds(sample_id: str, utterance: Any, recording: Recording) -> float:
    """How long it lasts; 0 where nobody knows how long its recording is."""
    sound, lasts = utterance.sound, recording.seconds
    if lasts is not None and (sound.start >= lasts or (sound.end or 0.0) > lasts + SLACK_S):
        raise Refusal(
            422,
            f"sample {sample_id}: {sound.start:g} s to {'its end' if sound.end is None else f'{sound.end:g} s'} is not "
            f"in recording {recording.pk}, which lasts {lasts:.2f} s; correct the times",
        )
    end = lasts if sound.end is None else min(sound.end, lasts or sound.end)
    return 0.0 if end is None else max(end - sound.start, 0.0)


def _check_ids(version: DatasetVersion, ids: list[str]) -> None:
    twice = {each for each, times in Counter(ids).items() if times > 1}
    for some in _chunks(ids):
        twice |= set(version.rows.filter(sample_id__in=some).values_list("sample_id", flat=True))
    if twice:
        conflict(f"there are two samples {min(twice)!r}; give each an id of its own")


def _utterances(
    rows: Sequence[DatasetSample], samples: Sequence[Sample], recordings: Mapping[str, Recording]
) -> Iterator[DatasetUtterance]:
    for row, sample in zip(rows, samples, strict=True):
        for index, each in enumerate(sample.utterances):
            heard_in = recordings[each.sound.path]
            yield DatasetUtterance(
                project_id=row.project_id,
                sample=row,
                index=index,
                recording=heard_in.pk,
                participant=each.speaker or heard_in.participant,
            )


def _chunks(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(keys), CHUNK):
        yield keys[start : start + CHUNK]
