from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar

from django.contrib.auth.models import AbstractUser
from django.core import signing
from django.core.validators import RegexValidator
from django.db import models
from django.utils import timezone

from ..ground.erasing import kept
from ..ground.scoping import ProjectOwned

slug_validator = RegexValidator(r"^[a-z0-9][a-z0-9-]*$", "use small letters, digits and '-', and start with no '-'")


class User(AbstractUser):
    """A person who signs in. What they may do in a project is their `Membership`."""


class Project(models.Model):
    """Whose data it is: the key on every row, token and bus subject. Its slug never changes."""

    slug = models.CharField(primary_key=True, max_length=40, validators=[slug_validator])
    name = models.CharField(max_length=200)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("slug",)

    def __str__(self) -> str:
        return self.name


class Role(models.TextChoices):
    """What a person is in a project. An owner may all, a researcher what annotators and what viewers may. A viewer
    reads every conversation, an annotator none but those that are given to them."""

    OWNER = "owner"
    RESEARCHER = "researcher"
    ANNOTATOR = "annotator"
    VIEWER = "viewer"


@kept("It is of somebody who signs in, who is no participant by that.")
class Membership(ProjectOwned):
    """A person's role in a project."""

    user = models.ForeignKey(User, on_delete=models.CASCADE)
    role = models.CharField(max_length=20, choices=Role.choices)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "project"], name="one_role_a_project")]

    def __str__(self) -> str:
        return f"{self.user_id} {self.role} of {self.project_id}"


class Scope(models.TextChoices):
    """What the holder of a token may do. `admin` includes all, `researcher` both `viewer` (reads all of the project)
    and `annotator`, who reads no conversation but those that are given to them."""

    DEVICE = "device"
    AGENT = "agent"
    VIEWER = "viewer"
    ANNOTATOR = "annotator"
    RESEARCHER = "researcher"
    ADMIN = "admin"


SCOPES_OF_ROLE: dict[str, tuple[Scope, ...]] = {
    Role.OWNER: (Scope.ADMIN,),
    Role.RESEARCHER: (Scope.RESEARCHER,),
    Role.ANNOTATOR: (Scope.ANNOTATOR,),
    Role.VIEWER: (Scope.VIEWER,),
}


def expand(scopes: Iterable[str]) -> frozenset[str]:
    """The scopes with all that they include."""
    given = set(scopes)
    if Scope.ADMIN in given:
        return frozenset(Scope.values)
    if Scope.RESEARCHER in given:
        given |= {Scope.ANNOTATOR, Scope.VIEWER}
    return frozenset(map(str, given))


def new_token_id() -> str:
    return secrets.token_hex(4)


@kept("It lets a client in, whoever is heard there.")
class Token(ProjectOwned):
    """Lets a device, an agent or a script in: `oo_<id>_<secret>`. Only the SHA-256 of the secret is kept.

    `site` and `device` are slugs that it is limited to; empty means any of the project.
    """

    limits = {"site": ("site",), "device": ("device",)}

    id = models.CharField(primary_key=True, max_length=8, default=new_token_id, editable=False)
    name = models.CharField(max_length=200, blank=True)
    digest = models.CharField(max_length=64, editable=False)
    scopes = models.JSONField(default=list)
    site = models.CharField(max_length=40, blank=True)
    device = models.CharField(max_length=40, blank=True)
    created_by = models.ForeignKey(User, null=True, blank=True, on_delete=models.SET_NULL, editable=False)
    own = models.BooleanField(default=False, editable=False)
    """Made by `created_by` for themself, on a page, and never shown: another one of theirs is the same client."""
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        ordering = ("-created_at",)

    def __str__(self) -> str:
        return self.name or f"oo_{self.id}"

    @classmethod
    def issue(cls, project: Project, scopes: Sequence[str], **fields: Any) -> tuple[Token, str]:
        """A new token and its text, which can be shown this once and never again."""
        token = cls(project=project, scopes=sorted(set(scopes)), **fields)
        text = token.renew_secret()
        token.save(force_insert=True)
        return token, text

    @classmethod
    def adopt(cls, text: str, project: Project, scopes: Sequence[str], **fields: Any) -> None:
        """Lets in a token that was made beside the server (`secrets.new_token`). One that is known stays as it is."""
        _, number, secret = text.split("_", 2)
        digest = hashlib.sha256(secret.encode()).hexdigest()
        cls.objects.get_or_create(
            pk=number, defaults={"project": project, "scopes": sorted(set(scopes)), "digest": digest, **fields}
        )

    def renew_secret(self) -> str:
        secret = secrets.token_urlsafe(32)
        self.digest = hashlib.sha256(secret.encode()).hexdigest()
        return f"oo_{self.id}_{secret}"

    def matches(self, secret: str) -> bool:
        return hmac.compare_digest(self.digest, hashlib.sha256(secret.encode()).hexdigest())


def _in_a_day() -> datetime:
    return timezone.now() + timedelta(days=1)


class SignInLink(models.Model):
    """Lets a person in once without a password. The link carries this row's number, signed; no secret is kept."""

    user = models.ForeignKey(User, on_delete=models.CASCADE)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(default=_in_a_day)
    used_at = models.DateTimeField(null=True)

    SALT: ClassVar[str] = "openomni.sign-in"

    @classmethod
    def path_for(cls, user: User) -> str:
        """The path of a fresh link, to be put behind the server's address."""
        link = cls.objects.create(user=user)
        return f"/sign-in/{signing.dumps(link.pk, salt=cls.SALT)}/"

    @classmethod
    def redeem(cls, text: str) -> User | None:
        """The user, the first time; None when the link is forged, used or too old."""
        try:
            key = signing.loads(text, salt=cls.SALT)
        except signing.BadSignature:
            return None
        now = timezone.now()
        fresh = cls.objects.filter(pk=key, used_at=None, expires_at__gt=now, user__is_active=True)
        if not fresh.update(used_at=now):
            return None
        return cls.objects.select_related("user").get(pk=key).user


class Tries(models.Model):
    """How often something secret was tried under a key, until `until`; see `throttle`."""

    key = models.CharField(primary_key=True, max_length=64)
    count = models.PositiveIntegerField(default=0)
    until = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return f"{self.count} tries until {self.until:%H:%M:%S}"
