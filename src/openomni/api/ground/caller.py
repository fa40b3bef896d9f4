"""Who calls, as a value: what an endpoint and what it calls need to know, whichever door they came in by."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from django.http import HttpRequest

NOBODY = "-"
"""In place of a token that has made something: no row has it."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls. `site` and `device` are slugs that a token is limited to; empty where it is not.

    A signed-in person has a `user_id`; whoever came with a token has a `token_id`.
    """

    project_id: str
    scopes: frozenset[str]
    site: str = ""
    device: str = ""
    user_id: int | None = None
    user_name: str = ""
    token_id: str = ""
    token_expires_at: datetime | None = None
    token_made_by: int | None = None
    """The user who made the token, where that is known."""
    reads_project: bool = True
    """Whether it may see what others made; a device, or an annotator, sees only what is theirs."""

    def may(self, scope: str) -> bool:
        return scope in self.scopes

    @property
    def person_id(self) -> int | None:
        """The user behind the call: who is signed in, or who made the token."""
        return self.token_made_by if self.token_id else self.user_id

    @property
    def limits(self) -> dict[str, str]:
        """What it is limited to: `site`, `device`, both or nothing; who may not read the project and has no place, to
        what was made with its own token (`maker`)."""
        places = {name: slug for name, slug in (("site", self.site), ("device", self.device)) if slug}
        return places if places or self.reads_project else {"maker": self.token_id or NOBODY}


if TYPE_CHECKING:

    class AuthedRequest(HttpRequest):
        """A request that `authentication.allow` let in."""

        auth: Caller
else:
    AuthedRequest = HttpRequest


def limited_to(caller: Caller) -> str:
    """In words, for a line of error."""
    if "maker" in caller.limits:
        return "what was made with it, for it names no site and no device"
    return " and ".join(f"the {name} {slug!r}" for name, slug in caller.limits.items())
