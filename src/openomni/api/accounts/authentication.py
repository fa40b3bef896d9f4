"""Lets callers in, and says what they may do.

An endpoint names the scopes that let one in: `@router.get("/sites", auth=allow(Scope.VIEWER))`. Inside it,
`request.auth` is the `Caller`. It came in with a token, or with the cookie of a signed-in person, or, where the
endpoint says `SERVER`, with the server's own secret, as the gateway does.
"""

from __future__ import annotations

import hmac
from datetime import timedelta

from django.conf import settings
from django.contrib.auth import get_user
from django.contrib.sessions.backends.db import SessionStore
from django.http import HttpRequest
from django.utils import timezone
from ninja.security.base import AuthBase
from ninja.utils import check_csrf

from ...errors import nearest
from ..ground.caller import Caller, limited_to
from ..ground.errors import Refusal
from ..ground.statements import Statements
from .models import SCOPES_OF_ROLE, Scope, Token, User, expand
from .roles import roles_of

_tokens = Statements(Token)
SERVER = "server"
"""In place of a scope: the gateway and other parts of the server itself."""
READS_PROJECT = {Scope.AGENT, Scope.VIEWER}
"""Who has none of these, such as a device, sees what is of its place, or else what was made with its own token."""
PROJECT_HEADER = "OpenOmni-Project"
"""Which project a signed-in person or the server acts in; a token has exactly one."""


class allow(AuthBase):  # noqa: N801 (reads as a word where it is used)
    """Lets in callers with one of `scopes`; `admin` may everything but what is for the server alone.

    `whole`: what is done concerns the whole project, so a token that is limited to a site or a device may not.
    """

    openapi_type = "http"
    openapi_scheme = "bearer"

    def __init__(self, *scopes: str, whole: bool = False) -> None:
        super().__init__()
        self.scopes = frozenset(map(str, scopes))
        self.whole = whole

    def __call__(self, request: HttpRequest) -> Caller:
        try:
            caller = _caller(request)
        except Refusal:
            if self.scopes == {SERVER}:
                raise Refusal(403, "this is for parts of the server; give both OPENOMNI_SERVER_SECRET") from None
            raise
        if not caller.scopes & self.scopes:
            wanted = " or ".join(sorted(self.scopes - {SERVER} or self.scopes))
            held = ", ".join(sorted(caller.scopes)) or "nothing"
            raise Refusal(403, f"this needs the scope {wanted}, and the caller has {held}; {_other(caller)}")
        if self.whole and caller.limits:
            raise Refusal(
                403,
                f"this concerns the whole project, and the token is limited to {limited_to(caller)}; use one without",
            )
        return caller


def _other(caller: Caller) -> str:
    if caller.user_id is not None:
        return "ask an owner of the project for another role"
    return "make a token that has it: openomni api token create --scope …"


def _caller(request: HttpRequest) -> Caller:
    header = request.headers.get("Authorization", "")
    if header:
        scheme, _, text = header.partition(" ")
        if scheme.lower() != "bearer":
            raise Refusal(401, "send the token as 'Authorization: Bearer oo_…'")
        return of_text(text.strip(), request.headers.get(PROJECT_HEADER, ""))
    return _of_session(request)


def of_text(text: str, project: str = "") -> Caller:
    """The caller who holds this token or the server secret. Raises `Refusal` (401) when it lets nobody in."""
    if hmac.compare_digest(text.encode(), settings.SERVER_SECRET.encode()):
        return Caller(project, frozenset({SERVER}))
    token = find_token(text)
    scopes = expand(token.scopes)
    if token.last_used_at is None or timezone.now() - token.last_used_at > timedelta(minutes=1):
        Token.objects.filter(pk=token.pk).update(last_used_at=timezone.now())
    return Caller(
        token.project_id,
        scopes,
        token.site,
        token.device,
        token_id=token.pk,
        token_expires_at=token.expires_at,
        token_made_by=token.created_by_id,
        reads_project=bool(scopes & READS_PROJECT),
    )


def find_token(text: str) -> Token:
    """The valid token with this text. Raises `Refusal` (401) that says what is wrong with it, and the mend."""
    mend = "make one with: openomni api token create"
    mark, _, rest = text.partition("_")
    key, _, secret = rest.partition("_")
    if mark != "oo" or not secret:
        raise Refusal(401, f"this is no token of OpenOmni (they start with oo_); {mend}")
    token = _tokens.first(id=key)
    if token is None or not token.matches(secret):
        raise Refusal(401, f"this token is unknown to this server; {mend}")
    if token.revoked_at:
        raise Refusal(401, f"this token was revoked on {token.revoked_at:%Y-%m-%d}; {mend}")
    if token.expires_at and token.expires_at <= timezone.now():
        raise Refusal(401, f"this token expired on {token.expires_at:%Y-%m-%d %H:%M} UTC; {mend}")
    return token


def is_known(authorization: str, session_key: str) -> bool:
    """Whether this header or the key of this session stands for anybody. Looks no further."""
    if authorization:
        scheme, _, text = authorization.partition(" ")
        try:
            return scheme.lower() == "bearer" and bool(of_text(text.strip()))
        except Refusal:
            return False
    request = HttpRequest()
    request.session = SessionStore(session_key)
    return get_user(request).is_authenticated


def _of_session(request: HttpRequest) -> Caller:
    user = request.user
    if not isinstance(user, User):
        raise Refusal(401, "this needs a token: send 'Authorization: Bearer oo_…', or sign in")
    if check_csrf(request) is not None:
        raise Refusal(403, "the CSRF token is missing or wrong; load the page again")
    wanted = request.headers.get(PROJECT_HEADER) or request.GET.get("project", "")
    roles = roles_of(user)
    if not roles:
        raise Refusal(403, "you belong to no project yet; ask an owner to add you")
    project = wanted or next(iter(roles))
    if project not in roles:
        raise Refusal(404, f"there is no project {project!r} among yours; {nearest(project, roles)}")
    return of_person(user, project, roles[project])


def of_person(user: User, project: str, role: str) -> Caller:
    """Who is signed in, as they act in a project that they have that role in."""
    scopes = expand(SCOPES_OF_ROLE[role])
    return Caller(
        project,
        scopes,
        user_id=user.pk,
        user_name=user.get_username(),
        reads_project=bool(scopes & READS_PROJECT),
    )
