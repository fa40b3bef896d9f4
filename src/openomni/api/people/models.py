from __future__ import annotations

from datetime import datetime

from django.db import models
from django.utils import timezone

from ..ground.erasing import erased
from ..ground.scoping import ProjectOwned
from ..places.models import Site


@erased(participant="code")
class Participant(ProjectOwned):
    """A person who is heard or seen, known by a code; the name is optional and for the project's eyes."""

    limits = {"site": ("site__slug",), "device": ("site__device__slug",)}

    code = models.CharField(max_length=40)
    name = models.CharField(max_length=200, blank=True)
    site = models.ForeignKey(Site, null=True, blank=True, on_delete=models.SET_NULL)
    notes = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("code",)
        constraints = [models.UniqueConstraint(fields=["project", "code"], name="one_participant_a_code")]

    def __str__(self) -> str:
        return self.name or self.code


class Purpose(models.TextChoices):
    """What a participant can agree to."""

    RECORDING = "recording", "being recorded"
    RESEARCH = "research", "use in this project's research"
    SHARING = "sharing", "sharing with other researchers"
    TRAINING = "training", "training of models"
    REMOTE = "remote", "processing by remote services"


@erased(participant="participant__code")
class Consent(ProjectOwned):
    """A participant agreed to one purpose, from `given_at` until `withdrawn_at`."""

    limits = {"site": ("participant__site__slug",), "device": ("participant__site__device__slug",)}

    participant = models.ForeignKey(Participant, on_delete=models.CASCADE, related_name="consents")
    purpose = models.CharField(max_length=20, choices=Purpose.choices)
    given_at = models.DateTimeField(default=timezone.now)
    withdrawn_at = models.DateTimeField(null=True, blank=True)
    evidence = models.CharField(max_length=500, blank=True, help_text="Where the signed form or the recording is.")

    class Meta:
        ordering = ("participant", "purpose", "-given_at")
        constraints = [
            models.UniqueConstraint(
                fields=["participant", "purpose"],
                condition=models.Q(withdrawn_at=None),
                name="one_consent_in_force_a_purpose",
            )
        ]

    def __str__(self) -> str:
        return f"{self.get_purpose_display()}" + (" (withdrawn)" if self.withdrawn_at else "")


def consent_of(project_id: str, code: str, at: datetime) -> str | None:
    """What the participant of that code had agreed to at that time: purposes, with commas between them. None where the
    project knows nobody by it."""
    person = Participant.objects.filter(project_id=project_id, code=code).first()
    if person is None:
        return None
    given = person.consents.filter(given_at__lte=at).exclude(withdrawn_at__lte=at).values_list("purpose", flat=True)
    return ", ".join(purpose for purpose in Purpose.values if purpose in set(given))
