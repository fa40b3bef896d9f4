"""The first message of a client that opts in to our part of the protocol, and the welcome that answers it."""

from __future__ import annotations

import re
import uuid
from typing import Annotated, Literal

import msgspec

from .. import bounds, clock
from .. import version as version_of
from ..records import Origin
from ..version import __version__
from .protocol import MIN_CLIENT, TOO_OLD, Json, ProtocolError, failure, too_old

_SESSION_ID = re.compile(r"[A-Za-z0-9_-]{1,48}")


class ClientHello(msgspec.Struct, rename={"kind": "type"}):
    """`session_id` takes up a session that was there before; `recording_id` says that the client records itself;
    `participant` (a code) who is heard, `consent` what they agreed to, `context` a note on where and with whom;
    `cell` that of an experiment which a caller plays."""

    kind: str = "openomni.hello"
    version: Annotated[str, msgspec.Meta(max_length=64)] = ""
    role: Literal["listener", "responder"] = "listener"
    audio: Literal["binary", "base64"] = "base64"
    rate: Literal[16000] = 16000
    source: bounds.Line = ""
    recording_id: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._:-]{0,64}$")] | None = None
    output: bool = True
    session_id: str | None = None
    wait_for_agent: bool = False
    origin: Origin | Literal[""] = ""
    participant: bounds.Name = ""
    consent: bounds.Name = ""
    context: bounds.Line = ""
    cell: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._:-]{0,64}$")] = ""


def read_hello(message: Json) -> ClientHello:
    """Raises `ProtocolError` for fields that don't fit, `Ended` for a client that is too old."""
    try:
        hello = msgspec.convert(message, ClientHello)
    except msgspec.ValidationError as fault:
        raise ProtocolError("invalid_value", f"openomni.hello: {fault}") from None
    check_version(hello.version)
    if hello.session_id is not None and not _SESSION_ID.fullmatch(hello.session_id):
        raise ProtocolError("invalid_value", "`session_id` takes 1 to 48 letters, digits, _ and -", "session_id")
    return hello


def check_version(version: str) -> None:
    """Raises `Ended` for a client that is too old."""
    if too_old(version):
        raise failure(TOO_OLD, "client_too_old", upgrade_line(version))


def upgrade_line(version: str) -> str:
    return version_of.upgrade_line(version, "this client", "this gateway")


def welcome(session_id: str = "", resumed: bool = False, again_from: int | None = None) -> Json:
    """`clock` is the gateway's, in seconds: every stamp that it sends is on it. `resumed`: the session of that id was
    found as its client left it. `again_from`: the sample from which its host is to hear it again, as far as the client
    still has it."""
    session: Json = {"session_id": session_id, "resumed": resumed} if session_id else {}
    if again_from is not None:
        session["again_from"] = again_from
    return {
        "type": "openomni.welcome", **session, "clock": clock.now(), "version": __version__, "min_version": MIN_CLIENT,
    }  # fmt: skip


def new_session_id() -> str:
    return uuid.uuid4().hex
