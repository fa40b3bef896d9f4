"""The server over HTTP: its REST calls, and media bytes put there and fetched, each resumable.

Used where a machine has no disk in common with the server: by listeners, responders and agents.
"""

from __future__ import annotations

import asyncio
import copy
import random
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Literal, Self, TypeVar
from urllib.parse import urlsplit

import msgspec

from .. import clock
from ..errors import OpenOmniError, WrongUsage
from ..version import __version__, too_old, upgrade_line
from .http import FAILURES, Http, HttpAnswer

AWAY_PATIENCE_S = 60.0
"""How long a server that was there before may be away, for whoever waits for an answer."""
_PASSING = {408, 425, 429, 502, 503, 504}
"""Statuses of a server that restarts or has too much to do; another one from 500 on is a fault."""

Schemes = Literal["http", "ws"]
Notice = Callable[[str], None]
T = TypeVar("T")


class Unreachable(OpenOmniError):
    """The server does not answer, or not as it should; later it may."""


class Faulty(Unreachable):
    """The server answers, but not as it should; waiting is not known to mend that."""


class NoRoom(Unreachable):
    """The server's disk is full; once somebody made room, it goes on."""


class Refused(OpenOmniError):
    """The server said no; asking again changes nothing. `status` is the HTTP status, or a WebSocket's close code."""

    def __init__(self, line: str, status: int) -> None:
        super().__init__(line)
        self.status = status
        if status % 4000 in (400, 404, 422):
            self.exit_code = WrongUsage.exit_code


class WrongOffset(OpenOmniError):
    """A part that does not start where the server's bytes end; go on from `received`."""

    def __init__(self, recording_id: str, received: int) -> None:
        super().__init__(f"recording {recording_id}: the server holds {received} bytes, go on from there")
        self.received = received


class RecordingMeta(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What a recording is, as the capturer names it; `started_at` is Unix time, for people."""

    recording_id: str
    kind: Literal["audio", "video", "reply", "picture"]
    media_type: str
    rate: int | None = None
    samples: int | None = None
    """How many there are, where its maker has counted them; without them it is read from the file."""
    started_at: float | None = None
    session_id: str = ""
    turn_id: str = ""
    site: str = ""
    device: str = ""
    made_by: str = ""
    """The id of the token of whoever a part of the server records for; of others the server knows it."""
    source: str = ""
    audio_track: int | None = None
    """Which of the file's tracks of sound is meant, from 1; None: as its readers choose. So for pictures."""
    video_track: int | None = None


class Api:
    """The server's REST at `/api/v1`, as the holder of `token` may use it.

    Every call raises `Unreachable` or `Refused`, one line each, with the mend. `patient` gives one that waits first.
    `project`: for a part of the server, which comes with the server's secret and acts for any of them.
    """

    def __init__(self, server: str, token: str, project: str = "") -> None:
        self.server = address(server)
        self.token = token
        acts_in = {"OpenOmni-Project": project} if project else {}
        self._http = Http(self.server, {**headers(token), **acts_in})
        self._patience_s = 0.0
        self._notice: Notice = lambda line: None
        self._told_away = False

    def patient(self, notice: Notice, seconds: float = AWAY_PATIENCE_S) -> Api:
        """The same server for what is asked of it once it was there: `get`, `post` and `download` try again for as
        long while it is away. `notice` gets a line when it begins to wait, and one when the server is back, whatever
        number of calls wait. It closes with this one."""
        patient = copy.copy(self)
        patient._patience_s, patient._notice = seconds, notice
        return patient

    async def get(self, path: str, **query: Any) -> Any:
        return await self._patiently(lambda: self._asked("GET", path, query=query))

    async def post(self, path: str, body: Any) -> Any:
        """Every POST of this API may come twice: what it makes is known by an id or a name that the asker chose."""
        return await self._patiently(lambda: self._asked("POST", path, body=body))

    async def put(self, path: str, body: Any) -> Any:
        return await self._patiently(lambda: self._asked("PUT", path, body=body))

    def tell_away(self, error: Unreachable, what_then: str) -> None:
        """One line for a person, once until the server is back."""
        if not self._told_away:
            self._told_away = True
            # Without the mend: that is for a server that never was there.
            self._notice(f"{str(error).rpartition('; ')[0] or error}; {what_then}")

    def _tell_back(self) -> None:
        if self._told_away:
            self._told_away = False
            self._notice(f"{self.server} is back")

    async def _asked(self, method: str, path: str, **parts: Any) -> Any:
        return self._json(await self._send(method, path, **parts))

    async def _patiently(self, call: Callable[[], Awaitable[T]]) -> T:
        deadline: float | None = None
        for wait in delays(most=2.0):
            try:
                return await call()
            except (NoRoom, Faulty):
                raise
            except Unreachable as error:
                deadline = deadline or clock.now() + self._patience_s
                if clock.now() + wait > deadline:
                    raise
                self.tell_away(error, f"waiting up to {self._patience_s:.0f} s for it to come back")
            await asyncio.sleep(wait)
        raise AssertionError("delays never end")

    async def create(self, meta: RecordingMeta) -> int:
        """Announces a recording and gives the bytes that the server holds of it; a second time changes nothing. This
        and the next two never wait for a server that is away: an `Uploader` does."""
        body = msgspec.to_builtins(meta)
        del body["recording_id"]
        answer = await self._send("PUT", f"/recordings/{meta.recording_id}", body=body)
        return int(self._json(answer).get("received") or 0)

    async def write(self, recording_id: str, offset: int, data: bytes, sha256: str = "") -> tuple[int, bool]:
        """Appends a part and gives the bytes that the server holds now, and whether they are sealed: `sha256` says
        that the part is the last, and is that of all. Raises WrongOffset when it holds others."""
        query: dict[str, Any] = {"offset": offset} | ({"sha256": sha256} if sha256 else {})
        answer = await self._send("PATCH", f"/recordings/{recording_id}", query=query, data=data, accept=(409, 422))
        if answer.status >= 400:
            raise self._elsewhere(recording_id, answer)
        said = self._json(answer)
        return int(said["received"]), bool(said.get("complete"))

    async def finish(self, recording_id: str, sha256: str, size: int) -> None:
        """Has the server check and seal the recording; after that, and only then, ours may be forgotten.

        Raises WrongOffset when the server holds fewer bytes, or dropped what it had because it differed.
        """
        answer = await self._send(
            "POST", f"/recordings/{recording_id}/complete", body={"sha256": sha256, "size": size}, accept=(409, 422)
        )
        if answer.status >= 400:
            raise self._elsewhere(recording_id, answer)

    async def download(self, recording_id: str, path: Path) -> Path:
        """Fetches a recording's bytes; a part that is there from an earlier try is gone on with."""
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(path.name + ".part")
        with part.open("ab") as out:
            while True:
                have = out.tell()
                try:
                    await self._patiently(lambda: self._fetch(recording_id, out))
                    break
                except Unreachable:
                    if out.tell() <= have:  # as long as something comes, it goes on
                        raise
        return part.replace(path)

    async def _fetch(self, recording_id: str, out: BinaryIO) -> None:
        out.flush()
        have = out.tell()
        extra = {"Range": f"bytes={have}-"} if have else {}
        # 416: nothing is missing.
        await self._send("GET", f"/recordings/{recording_id}/content", accept=(416,), extra=extra, into=out)

    async def _send(
        self, method: str, path: str, *, query: Mapping[str, object] | None = None, body: Any = None,
        data: bytes | None = None, accept: tuple[int, ...] = (), extra: Mapping[str, str] | None = None,
        into: BinaryIO | None = None,
    ) -> HttpAnswer:  # fmt: skip
        """`body` is sent as JSON, `data` as it is. Raises for a status of 300 or more that is not in `accept`."""
        sent = dict(extra or {})
        if body is not None:
            data, sent["Content-Type"] = msgspec.json.encode(body), "application/json"
        elif data is not None:
            sent["Content-Type"] = "application/octet-stream"
        try:
            answer = await self._http.call(method, f"/api/v1{path}", query=query, body=data, headers=sent, into=into)
        except FAILURES as error:
            raise Unreachable(unreachable_line(self.server, error)) from None
        if 300 <= answer.status < 400:
            raise Refused(f"{self.server} has moved to {answer.headers.get('location', 'somewhere')}; "
                          "give that as --server", answer.status)  # fmt: skip
        if answer.status not in _PASSING:
            self._tell_back()
        self._shake_hands(answer)
        if answer.status >= 400 and answer.status not in accept:
            raise refusal(self.server, answer.status, answer.body)
        return answer

    def _shake_hands(self, answer: HttpAnswer) -> None:
        """Raises Refused for a server that is too old for us. One that says nothing of its version is none, or a
        proxy in front of it."""
        version = answer.headers.get("openomni-version", "")
        if version and too_old(version):
            raise Refused(upgrade_line(version, f"the server at {self.server}", "this part of it"), 426)

    def _elsewhere(self, recording_id: str, answer: HttpAnswer) -> OpenOmniError:
        """A refusal that tells how many bytes are there is no refusal: the upload goes on from there."""
        received = self._json(answer).get("received")
        if received is None:
            return refusal(self.server, answer.status, answer.body)
        return WrongOffset(recording_id, int(received))

    def _json(self, answer: HttpAnswer) -> Any:
        try:
            return msgspec.json.decode(answer.body)
        except msgspec.DecodeError:
            raise Faulty(f"{self.server} gave no JSON; is this the address of an OpenOmni server?") from None

    async def close(self) -> None:
        await self._http.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def address(server: str, scheme: Schemes = "http") -> str:
    """The server's origin, for HTTP or for WebSockets. Raises WrongUsage for what is no address."""
    parts = urlsplit(server if "://" in server else f"http://{server}")
    try:
        right = parts.scheme in ("http", "https", "ws", "wss") and parts.hostname and parts.port != 0
    except ValueError:  # the port is none
        right = False
    if not right or " " in parts.netloc:
        raise WrongUsage(f"--server {server!r} is no address; give one such as http://localhost:8000")
    secure = "s" if parts.scheme in ("https", "wss") else ""
    return f"{scheme}{secure}://{parts.netloc}{parts.path.rstrip('/')}"


def headers(token: str) -> dict[str, str]:
    """What every request and WebSocket carries: who asks, and with which version."""
    try:
        token.encode("ascii")
    except UnicodeEncodeError:
        raise WrongUsage("the token holds characters that no token has; copy it again") from None
    return {"Authorization": f"Bearer {token.strip()}", "OpenOmni-Version": __version__}


def delays(first: float = 0.25, most: float = 10.0) -> Iterator[float]:
    """Seconds to wait before each next try: doubling, up to `most`, each off by up to a quarter so that many
    clients of one server don't come back at once."""
    wait = first
    while True:
        yield wait * random.uniform(0.75, 1.25)
        wait = min(wait * 2, most)


def unreachable_line(server: str, error: BaseException) -> str:
    reason = " ".join(str(error).split())
    if "CERTIFICATE_VERIFY_FAILED" in reason:
        return f"{server} shows a certificate that is not trusted here; put its authority into SSL_CERT_FILE"
    reason = getattr(error, "strerror", None) or reason or type(error).__name__
    return f"cannot reach {server} ({reason}); is the server up, and --server right?"


def refusal(server: str, status: int, body: bytes) -> OpenOmniError:
    """The error that an HTTP status of 400 or more stands for, in the server's own words where it has some."""
    said = words(body)
    if status == 401:
        return Refused(f"{server} does not accept the token ({said or 'unknown or expired'}); "
                       "make a new one and set OPENOMNI_TOKEN to it", status)  # fmt: skip
    if status == 403:
        return Refused(f"the token may not do this on {server} ({said or 'out of scope'}); use one with the "
                       "scope `device`", status)  # fmt: skip
    if status == 507:
        return NoRoom(f"{server}: {said or 'its disk is full; free some space there'}")
    if status in _PASSING or status >= 500:
        kind = Unreachable if status in _PASSING else Faulty
        return kind(f"{server} answers {status} ({said or 'no reason given'}); look at the server's log")
    return Refused(said or f"{server} refuses with {status}", status)


def words(body: bytes) -> str:
    """What an error's body says, as one line; empty when it says nothing for people."""
    try:
        answer = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return ""
    said = answer.get("detail") or answer.get("error") or answer.get("message") if isinstance(answer, dict) else None
    if isinstance(said, dict):
        said = said.get("message")
    if isinstance(said, list):
        said = "; ".join(str(item.get("msg", item) if isinstance(item, dict) else item) for item in said)
    return " ".join(str(said or "").split())
