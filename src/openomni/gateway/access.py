"""Who may come in, and through which pipeline: asked of the API, and remembered while it is away.

A token is believed for a minute, a pipeline for a second, so that what was edited runs. When the API does not answer,
both are believed for ten minutes: conversations live through a restart of the API.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, Generic, TypeVar
from urllib.parse import quote

import httpx
import msgspec

from .. import clock
from ..errors import OpenOmniError
from ..version import __version__, too_old, upgrade_line

T = TypeVar("T")

FRESH_TOKEN, FRESH_PIPELINE = 60.0, 1.0
"""Seconds that an answer is believed without asking again."""
STALE = 600.0
"""Seconds that it is believed while the API does not answer."""
REFUSED = 5.0
"""Seconds that a refusal is remembered, so that guessing tokens costs the API little."""


class ApiAway(OpenOmniError):
    """The API gives no answer."""


class AccessDenied(OpenOmniError):
    """The API says no; `status` is what HTTP would say."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Access(msgspec.Struct, frozen=True):
    """What the holder of a token may do. `site` and `device` limit it where they are not empty."""

    token_id: str
    project: str
    scopes: tuple[str, ...]
    site: str | None = None
    device: str | None = None
    person: str = ""
    """Who made it for themself on a page; empty for a token of a device or a script."""
    expires_at: float | str | None = None
    """Unix time or ISO 8601; None: never."""

    @property
    def reads_project(self) -> bool:
        """Whether it sees what others made; a device sees what is of its site, or what was made with its token."""
        return not {"agent", "viewer", "admin"}.isdisjoint(self.scopes)

    def has(self, scope: str) -> bool:
        return not {scope, "admin"}.isdisjoint(self.scopes)

    def require(self, scope: str, *others: str) -> None:
        """Raises `AccessDenied` (403) with neither that scope nor one of the `others`."""
        if not any(map(self.has, (scope, *others))):
            held = ", ".join(self.scopes) or "nothing"
            raise AccessDenied(
                403, f"this token has the scope {held}, and this door needs {scope!r}; make a token that has it"
            )

    @property
    def seconds_left(self) -> float:
        """Until the token expires; inf when it never does."""
        if self.expires_at is None:
            return float("inf")
        expires = self.expires_at
        if isinstance(expires, str):
            expires = datetime.fromisoformat(expires).timestamp()
        return expires - time.time()


class ResolvedPipeline(msgspec.Struct, frozen=True):
    """A pipeline by name: its hash and normalised content; `faults`: why it can't run, whatever agents there are."""

    name: str
    hash: str
    spec: dict[str, Any]
    faults: tuple[str, ...] = ()


class Memory(Generic[T]):
    """Answers by key: fresh ones as they are, older ones asked for again, stale ones when there is no answer."""

    def __init__(self, fresh: float, size: int = 4096) -> None:
        self._fresh, self._size = fresh, size
        self._kept: OrderedDict[str, tuple[float, T]] = OrderedDict()
        self._refused: OrderedDict[str, tuple[float, AccessDenied]] = OrderedDict()
        self._asking: dict[str, asyncio.Lock] = {}

    async def get(self, key: str, ask: Callable[[], Awaitable[T]]) -> T:
        """Raises `AccessDenied`, or `ApiAway` when nothing that is young enough is known."""
        # One question at a time for a key: many clients that come back at once ask once.
        lock = self._asking.setdefault(key, asyncio.Lock())
        try:
            async with lock:
                return await self._get(key, ask)
        finally:
            if not lock.locked():
                self._asking.pop(key, None)

    async def _get(self, key: str, ask: Callable[[], Awaitable[T]]) -> T:
        now = clock.now()
        at, answer = self._kept.get(key, (0.0, None))
        if answer is not None and now - at < self._fresh:
            return answer
        refused_at, refusal = self._refused.get(key, (0.0, None))
        if refusal is not None and now - refused_at < REFUSED:
            raise AccessDenied(refusal.status, str(refusal))
        try:
            fresh = await ask()
        except AccessDenied as no:
            self._kept.pop(key, None)
            self._remember(self._refused, key, (now, no))
            raise
        except ApiAway:
            if answer is not None and now - at < STALE:
                return answer
            raise
        self._remember(self._kept, key, (now, fresh))
        return fresh

    def _remember(self, kept: OrderedDict[str, Any], key: str, value: Any) -> None:
        kept[key] = value
        kept.move_to_end(key)
        while len(kept) > self._size:
            kept.popitem(last=False)


class _Named(msgspec.Struct):
    name: str


class _Pipelines(msgspec.Struct):
    items: list[_Named]


class _Opening(msgspec.Struct, frozen=True):
    known: bool


class AccessApi:
    """The API as the gateway asks it, with the server secret."""

    def __init__(self, url: str, secret: str) -> None:
        self.url = url.rstrip("/")
        headers = {"Authorization": f"Bearer {secret}", "OpenOmni-Version": __version__}
        # It remembers no cookie: whoever is asked about next is somebody else.
        jar = CookieJar(DefaultCookiePolicy(allowed_domains=[]))
        self._http = httpx.AsyncClient(
            base_url=f"{self.url}/api/v1", headers=headers, timeout=httpx.Timeout(10.0, connect=3.0), trust_env=False,
            cookies=jar,
        )  # fmt: skip
        self._tokens: Memory[Access] = Memory(FRESH_TOKEN)
        self._pipelines: Memory[ResolvedPipeline] = Memory(FRESH_PIPELINE)
        self._callers: Memory[bool] = Memory(FRESH_TOKEN)
        self._openings: Memory[_Opening] = Memory(FRESH_TOKEN)

    async def access(self, token: str) -> Access:
        """What `token` may do. Raises `AccessDenied` (401) when it is unknown or expired, `ApiAway`."""
        key = hashlib.sha256(token.encode()).hexdigest()
        access = await self._tokens.get(key, lambda: self._introspect(token))
        if access.seconds_left <= 0:
            raise AccessDenied(401, "this token has expired; make a new one")
        return access

    async def check_caller(self, shown: dict[str, str]) -> None:
        """Whether who shows these headers (a token, a cookie) is somebody. Raises `AccessDenied` (401) for a stranger,
        `ApiAway`."""
        if not shown:
            raise AccessDenied(401, "this needs a token: send 'Authorization: Bearer oo_…'")
        key = hashlib.sha256(msgspec.json.encode(shown)).hexdigest()
        await self._callers.get(key, lambda: self._ask_caller(shown))

    async def check_opening(self, token: str, session_id: str) -> bool:
        """That the holder of `token` may open a session of that id; gives whether the API knows of one. Raises
        `AccessDenied` where it is another's, `ApiAway`."""
        key = hashlib.sha256(f"{token}/{session_id}".encode()).hexdigest()
        return (await self._openings.get(key, lambda: self._ask_opening(token, session_id))).known

    async def pipeline(self, project: str, name: str) -> ResolvedPipeline:
        """Raises `AccessDenied` (404) with the nearest name, `ApiAway`."""
        return await self._pipelines.get(f"{project}/{name}", lambda: self._resolve(project, name))

    async def pipelines(self, project: str) -> list[str]:
        """The names of all that its sessions may run. Raises `ApiAway`."""
        answer = await self._send("GET", "/pipelines", headers={"OpenOmni-Project": project})
        return [each.name for each in self._read(answer, _Pipelines).items]

    async def alive(self) -> bool:
        try:
            await self._http.get("/hello", timeout=2.0)
        except httpx.HTTPError:
            return False
        return True

    async def _ask_caller(self, shown: dict[str, str]) -> bool:
        answer = await self._send("GET", "/me", headers={"authorization": "", **shown})
        if answer.status_code == 401:
            raise AccessDenied(401, _words(answer) or "whoever this is isn't known here; sign in, or send a token")
        return True

    async def _ask_opening(self, token: str, session_id: str) -> _Opening:
        path = f"/sessions/{quote(session_id, safe='')}/opening"
        answer = await self._send("GET", path, headers={"authorization": f"Bearer {token}"})
        if answer.status_code in (401, 403, 404):
            raise AccessDenied(403, _words(answer))
        return self._read(answer, _Opening)

    async def _introspect(self, token: str) -> Access:
        answer = await self._send("POST", "/auth/introspect", json={"token": token})
        if answer.status_code in (400, 404, 422):
            raise AccessDenied(401, _words(answer) or "this token is unknown or expired; make a new one")
        return self._read(answer, Access)

    async def _resolve(self, project: str, name: str) -> ResolvedPipeline:
        if not name or "/" in name or name in (".", ".."):
            raise AccessDenied(404, f"{name!r} is no pipeline's name; put ?model=<pipeline> at the end of the address")
        path = f"/pipelines/{quote(name, safe='')}/resolve"
        answer = await self._send("GET", path, params={"project": project}, headers={"OpenOmni-Project": project})
        if answer.status_code in (400, 404, 422):
            raise AccessDenied(404, _words(answer) or f"there is no pipeline {name!r} in the project {project!r}")
        return self._read(answer, ResolvedPipeline)

    async def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            answer = await self._http.request(method, path, **options)
        except httpx.HTTPError as error:
            raise ApiAway(f"the API at {self.url} is not answering ({_reason(error)})") from None
        theirs = answer.headers.get("OpenOmni-Version", "")
        if theirs and too_old(theirs):
            raise ApiAway(upgrade_line(theirs, f"the API at {self.url}", "this gateway"))
        if answer.status_code >= 500:
            raise ApiAway(f"the API at {self.url} answers {answer.status_code}; look at its log")
        return answer

    def _read(self, answer: httpx.Response, kind: type[T]) -> T:
        if answer.status_code == 426:
            raise ApiAway(f"the API at {self.url} refuses this gateway: {_words(answer)}")
        if answer.status_code != 200:
            raise ApiAway(
                f"the API at {self.url} refuses this gateway ({answer.status_code}: {_words(answer)}); "
                "give both the same OPENOMNI_SERVER_SECRET"
            )
        try:
            return msgspec.json.decode(answer.content, type=kind)
        except msgspec.MsgspecError as error:
            raise ApiAway(f"{self.url} answers what no OpenOmni API does ({error}); check --api") from None

    async def close(self) -> None:
        await self._http.aclose()


def bearer(header: str, subprotocols: Iterable[str]) -> str:
    """The token from `Authorization: Bearer …`, or, for browsers, from a WebSocket subprotocol; else empty."""
    scheme, _, token = header.partition(" ")
    if scheme.lower() == "bearer":
        return token.strip()
    for subprotocol in subprotocols:
        for prefix in ("openai-insecure-api-key.", "openomni-token."):
            if subprotocol.startswith(prefix):
                return subprotocol.removeprefix(prefix)
    return ""


def _words(answer: httpx.Response) -> str:
    """What the API says for people, on one line."""
    try:
        body = answer.json()
    except ValueError:
        return ""
    said = body.get("detail") or body.get("error") if isinstance(body, dict) else ""
    return " ".join(str(said or "").split())


def _reason(error: httpx.HTTPError) -> str:
    return " ".join(str(error).split()) or type(error).__name__
