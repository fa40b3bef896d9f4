from __future__ import annotations

from django.db import models

from ..accounts.models import slug_validator
from ..ground.erasing import kept
from ..ground.scoping import ProjectOwned


@kept("It is a place, whoever is there.")
class Site(ProjectOwned):
    """A place where devices stand: a home, a ward, a lab."""

    limits = {"site": ("slug",), "device": ("device__slug",)}

    slug = models.CharField(max_length=40, validators=[slug_validator])
    name = models.CharField(max_length=200)
    notes = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("slug",)
        constraints = [models.UniqueConstraint(fields=["project", "slug"], name="one_site_a_slug")]

    def __str__(self) -> str:
        return self.name


@kept("It is a machine, whoever it hears.")
class Device(ProjectOwned):
    """A client machine that listens, sees or speaks."""

    limits = {"site": ("site__slug",), "device": ("slug",)}

    slug = models.CharField(max_length=40, validators=[slug_validator])
    name = models.CharField(max_length=200)
    site = models.ForeignKey(Site, null=True, blank=True, on_delete=models.SET_NULL)
    notes = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    last_seen = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        ordering = ("slug",)
        constraints = [models.UniqueConstraint(fields=["project", "slug"], name="one_device_a_slug")]

    def __str__(self) -> str:
        return self.name


def site_of(project_id: str, device: str) -> str:
    """The slug of the site where a device stands; empty when it stands nowhere, or nobody told of it."""
    if not device:
        return ""
    sites = Device.objects.filter(project_id=project_id, slug=device).values_list("site__slug", flat=True)
    return sites.first() or ""
