"""The first start: tables, the first project and its owner, a link to sign in once, and a first token.

There is no default password. Needs Django to be set up.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from .. import folders
from . import layout, secrets, tables

PROJECT = "default"
OWNER = "owner"


class FirstStart(msgspec.Struct, frozen=True):
    """What is shown once: the path that signs the owner in, and a token for everything in the project."""

    sign_in_path: str
    token: str
    agent_token: str
    """For the agent beside the server; it may do an agent's work and nothing else."""


def setup(data_dir: Path | None = None) -> None:
    """Makes the secrets where there are none, and sets Django up for this data directory. Raises OpenOmniError where
    that holds the tables of another alpha."""
    if data_dir is not None:
        os.environ["OPENOMNI_DATA_DIR"] = str(data_dir)
    folder = folders.server_data()
    layout.check(folder)
    secrets.ensure(folder)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "openomni.api.settings")
    import django

    django.setup(set_prefix=False)


class Made(msgspec.Struct, frozen=True):
    """Tokens that were made before the API ran, so that nobody has to wait for it to know them."""

    token: str
    agent_token: str


def first_start(data_dir: Path | None = None, made: Made | None = None) -> FirstStart | None:
    """Sets everything up; what the owner is shown, or None when somebody has an account already.

    `made` tokens are let in, on any start.
    """
    setup(data_dir)
    tables.up_to_date()
    from django.db import transaction

    from .accounts.models import Membership, Project, Role, Scope, SignInLink, Token, User

    with transaction.atomic():
        first = not User.objects.exists()
        if not first and made is None:
            return None
        project, _ = Project.objects.get_or_create(slug=PROJECT, defaults={"name": "Default"})
        owner = None
        if first:
            owner = User(username=OWNER, is_staff=True, is_superuser=True)
            owner.set_unusable_password()
            owner.save()
            Membership.objects.create(project=project, user=owner, role=Role.OWNER)
        made = made or Made(secrets.new_token(), secrets.new_token())
        Token.adopt(made.token, project, [Scope.ADMIN], name="first", created_by=owner)
        Token.adopt(made.agent_token, project, [Scope.AGENT], name="agent beside the server", created_by=owner)
        return FirstStart(SignInLink.path_for(owner), made.token, made.agent_token) if owner else None


def owners_link() -> str:
    """A path that signs the server's owner in, once; empty where there is no such account any more."""
    from .accounts.models import SignInLink, User

    owner = User.objects.filter(username=OWNER, is_active=True).first()
    return SignInLink.path_for(owner) if owner else ""
