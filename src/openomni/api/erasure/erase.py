"""Erases a participant, a session, a turn or a recording, and leaves a tombstone of what is gone."""

from __future__ import annotations

from django.db import transaction

from ..ground.erasing import ERASED, Subject, chunks, rows
from ..records.models import Tombstone


def erase(project_id: str, subject: Subject, key: str) -> dict[str, int]:
    """Deletes all that the registry names, and gives how many rows of which table. What is not here yet is buried, too:
    a record or a recording of it that comes later is left out.

    A participant's recordings are those of their sessions. Where they are only heard in somebody else's, what they said
    there is erased, and the sound stays until that session or that recording is.
    """
    with transaction.atomic():
        keys = _along(project_id, subject, key)
        _bury(project_id, keys)
        gone = {
            model: {row for found in rows(model, project_id, keys) for row in found.values_list("pk", flat=True)}
            for model in reversed(ERASED)
        }
        for model, primary in gone.items():
            for some in chunks(primary):
                model.objects.filter(pk__in=some).delete()
    return {model._meta.label: len(primary) for model, primary in gone.items() if primary}


def _along(project_id: str, subject: Subject, key: str) -> dict[Subject, set[str]]:
    """The subjects that go along: a participant's sessions, their turns, runs of these turns again, and so on. Their
    rows are locked, so nothing is added to them meanwhile."""
    keys: dict[Subject, set[str]] = {each: set() for each in Subject}
    keys[subject].add(key)
    news = {each: set(found) for each, found in keys.items()}
    while any(news.values()):
        found: dict[Subject, set[str]] = {each: set() for each in Subject}
        for model, named in ERASED.items():
            if named.is_subject:
                for some in rows(model, project_id, news):
                    found[named.is_subject] |= set(some.select_for_update(of=("self",)).values_list("pk", flat=True))
        news = {each: found[each] - keys[each] for each in Subject}
        for each in Subject:
            keys[each] |= news[each]
    return keys


def _bury(project_id: str, keys: dict[Subject, set[str]]) -> None:
    kinds = [Subject(kind) for kind in Tombstone.Kind.values]
    Tombstone.objects.bulk_create(
        [Tombstone(project_id=project_id, kind=kind.value, key=key) for kind in kinds for key in sorted(keys[kind])],
        ignore_conflicts=True,
    )
