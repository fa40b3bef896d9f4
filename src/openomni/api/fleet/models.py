from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import Any

from django.db import models
from django.utils import timezone

from ..ground.erasing import kept
from ..ground.scoping import ProjectOwned

ALIVE_FOR = timedelta(seconds=3.5)
"""An agent says that it is here every second; after this much silence it is taken for gone."""


def new_id() -> str:
    return uuid.uuid4().hex


def alive_since() -> datetime:
    """Whoever was seen after this moment is alive."""
    return timezone.now() - ALIVE_FOR


@kept("It is a process and its machine.")
class Agent(ProjectOwned):
    """A worker process, known by its name in a project; registering again updates it."""

    id = models.CharField(primary_key=True, max_length=32, default=new_id, editable=False)
    name = models.CharField(max_length=200)
    machine: models.JSONField[Any, Any] = models.JSONField(default=dict, blank=True)
    accelerators: models.JSONField[Any, Any] = models.JSONField(default=list, blank=True)
    roles: models.JSONField[Any, Any] = models.JSONField(default=list, blank=True)
    slots = models.PositiveIntegerField(default=1)
    version = models.CharField(max_length=40, blank=True)
    registered_at = models.DateTimeField(default=timezone.now)
    last_seen = models.DateTimeField(null=True, blank=True, db_index=True)
    busy = models.PositiveIntegerField(default=0)
    sessions = models.PositiveIntegerField(default=0)
    draining = models.BooleanField(default=False)
    health = models.CharField(max_length=500, blank=True)

    class Meta:
        ordering = ("name",)
        constraints = [models.UniqueConstraint(fields=["project", "name"], name="one_agent_a_name")]

    def __str__(self) -> str:
        return self.name

    @property
    def alive(self) -> bool:
        return self.last_seen is not None and self.last_seen > alive_since()


@kept("It is what an agent can do.")
class Offer(ProjectOwned):
    """A component that an agent offers, with the JSON Schema of its parameters and the package it comes from."""

    agent = models.ForeignKey(Agent, on_delete=models.CASCADE, related_name="offers")
    kind = models.CharField(max_length=40)
    name = models.CharField(max_length=200)
    version = models.CharField(max_length=80, blank=True)
    package = models.CharField(max_length=200, blank=True)
    schema: models.JSONField[Any, Any] = models.JSONField(default=dict, blank=True)
    description = models.TextField(blank=True)
    streaming = models.BooleanField(default=False)
    slots = models.PositiveIntegerField(default=1)

    class Meta:
        ordering = ("kind", "name")
        constraints = [models.UniqueConstraint(fields=["agent", "kind", "name"], name="one_offer_a_component")]

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"
