"""Whose voice it is, and what they had agreed to: it stands on a session, its recordings, its turns and segments."""

from __future__ import annotations

from datetime import datetime

import msgspec
from django.db import models
from django.utils import timezone

from ...records import SegmentRecord
from ..people.models import consent_of
from .models import Recording, Session


def is_of(session: Session, participant: str, consent: str, context: str = "", begun: datetime | None = None) -> None:
    """Fills in who is heard in a session, what they had agreed to when it began, and the note; what is known stays.
    Consent is as the project's own records have it, and as it is told where these know nobody of that code."""
    if not session.participant:
        session.participant = participant
        session.consent = session.consent or agreed(session.project_id, participant, consent, begun)
    session.context = session.context or context


def agreed(project_id: str, participant: str, told: str = "", at: datetime | None = None) -> str:
    """What somebody had agreed to at that time, now without one."""
    known = consent_of(project_id, participant, at or timezone.now()) if participant else None
    return told if known is None else known


def pass_on(session: Session, instead_of: str = "") -> None:
    """Whose voice it is stands on all that was recorded in a session, whichever of them came first; also in place of
    somebody who it was not."""
    if not session.participant and not instead_of:
        return
    unnamed = models.Q(participant__in=["", instead_of])
    told = {"participant": session.participant, "consent": session.consent}
    session.recorded.filter(unnamed).exclude(kind=Recording.Kind.REPLY).update(**told)
    session.turns.filter(unnamed).update(participant=session.participant)
    # Where a component says who speaks, that stands.
    session.segments.filter(unnamed, confidence=None).update(**told)


def spoken(session: Session, segment: SegmentRecord) -> SegmentRecord:
    """The segment with whose it is."""
    if not session.participant or (segment.participant and segment.confidence is not None):
        return segment
    return msgspec.structs.replace(segment, participant=session.participant, consent=session.consent)
