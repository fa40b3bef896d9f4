"""The dead letters: what failed too often, could not be read or was not taken, kept as it was sent, with the reason.

A letter's payload is the exact bytes that it is about; what is known of them travels in a header, so that a letter
never outgrows a message. Any letter can be written back to where it came from; one that nobody could read is, as soon
as somebody can (`write_back_readable`). A letter that can't be read itself is one too: it stops nobody.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import logging
import time
import zlib
from typing import Literal

import msgspec
from nats.errors import Error as NatsError
from nats.js.api import RawStreamMsg
from nats.js.errors import NotFoundError

from .. import bounds, records
from . import envelope, subjects
from .connection import Bus, BusError, StoredMessage

log = logging.getLogger(__name__)

HEADER = "Oo-Letter"
"""Header with the JSON of a `DeadLetter`, its content left out."""
EXCERPT = 1024
"""Bytes that are kept here of what is too large for the bus."""

Cause = Literal["failed", "unreadable", "refused", "too_large"]
"""Tried too often; of a version that nobody here reads; never to be written; an excerpt of what the bus can't carry."""


class DeadLetter(msgspec.Struct, kw_only=True, omit_defaults=True):
    """`content` is what it is about, byte for byte; `sequence` names the letter in its stream."""

    kind: str
    """`record`, or the kind of work: `turn`, …; `unknown` for a letter that can't be read itself."""
    key: str
    reason: str
    attempts: int = 0
    at: float = 0.0
    """Unix time."""
    cause: str = "failed"
    """A `Cause`."""
    subject: str = ""
    """Where it came from, and goes back to."""
    size: int = 0
    sha256: str = ""
    """Of the whole, where `content` is an excerpt of it."""
    content: bytes = b""
    packed: bool = False
    """On the bus the content is compressed, for as it is it would not fit."""
    sequence: int = 0


class _Earlier(msgspec.Struct, kw_only=True):
    """A letter as version 0.1 wrote it: all of it JSON, with the turn inside, or the text of what wasn't one."""

    kind: str
    key: str
    reason: str
    attempts: int
    at: float
    content: msgspec.Raw


_NO_WORK = ("record", "unknown")
_encode = msgspec.json.Encoder().encode
_decoder = msgspec.json.Decoder(DeadLetter)
_earlier = msgspec.json.Decoder(_Earlier)


async def bury(bus: Bus, project: str, letter: DeadLetter, message_id: str) -> StoredMessage:
    """Puts a letter among a project's dead; on disk when this returns. The same `message_id` again within the hour
    adds nothing."""
    content, headers = posted(letter)
    return await bus.store(subjects.dead(project), content, message_id, headers=headers)


def posted(letter: DeadLetter) -> tuple[bytes, dict[str, str]]:
    """A letter as a message: its payload and its header."""
    letter = _fitting(letter)
    about = msgspec.structs.replace(
        letter, content=b"", sequence=0, at=letter.at or time.time(), reason=letter.reason[: bounds.MAX_LINE]
    )
    # As ASCII: a header is a line, whatever the reason quotes.
    return letter.content, {HEADER: json.dumps(msgspec.to_builtins(about))}


def _fitting(letter: DeadLetter) -> DeadLetter:
    if len(letter.content) <= bounds.MAX_RECORD:
        return letter
    packed = msgspec.structs.replace(letter, content=zlib.compress(letter.content), packed=True)
    return packed if len(packed.content) <= bounds.MAX_RECORD else excerpt(letter)


def excerpt(letter: DeadLetter) -> DeadLetter:
    """The letter of something too large, with the beginning of it and what the whole is known by."""
    whole = letter.content
    return msgspec.structs.replace(
        letter, cause="too_large", size=len(whole), sha256=hashlib.sha256(whole).hexdigest(), content=whole[:EXCERPT]
    )


async def dead(bus: Bus, project: str, after: int = 0, limit: int = 100) -> list[DeadLetter]:
    """A project's dead letters (`*`: everybody's), oldest first, from those with a sequence above `after`. For role
    `server`."""
    letters: list[DeadLetter] = []
    subject, sequence = subjects.dead(project), after
    while len(letters) < limit and (message := await _letter(bus, sequence + 1, subject)) is not None:
        letter = _read(message)
        sequence = letter.sequence
        letters.append(letter)
    return letters


async def write_back(bus: Bus, project: str, sequence: int) -> StoredMessage:
    """Puts what a letter is about back where it came from, work with all its attempts anew, and forgets the letter.

    Raises BusError for one of which only an excerpt is here, or of which nobody knows where it came from.
    """
    letter = await _one(bus, project, sequence)
    if letter.cause == "too_large":
        raise BusError(f"dead letter {sequence} is too large for the bus; its whole is kept where it was written, as "
                       "a .refused file of the journal")  # fmt: skip
    if not letter.subject:
        raise BusError(f"dead letter {sequence} says nothing of where it came from ({letter.reason}); discard it")
    # Another id than it had: the bus drops one that comes again within the hour.
    content, message_id = letter.content, f"{letter.key}-again-{sequence}"
    if letter.kind not in _NO_WORK:
        with contextlib.suppress(msgspec.MsgspecError):
            work = envelope.decode(content, letter.subject).again(time.time())
            content, message_id = _with_unknown_fields(work, content), work.message_id
    stored = await bus.store(letter.subject, content, message_id)
    await discard(bus, project, sequence)
    return stored


async def retry(bus: Bus, project: str, sequence: int) -> StoredMessage:
    """Writes work back; raises BusError for a letter that is none."""
    letter = await _one(bus, project, sequence)
    if letter.kind in _NO_WORK:
        raise BusError(f"dead letter {sequence} is a {letter.kind}; only turns can be queued again")
    if letter.cause == "unreadable":
        raise BusError(f"dead letter {sequence} is no {letter.kind} of this version ({letter.reason}); discard it, or "
                       "write it back after an upgrade")  # fmt: skip
    return await write_back(bus, project, sequence)


async def write_back_readable(bus: Bus, letter: DeadLetter, project: str = "*") -> bool:
    """Writes a record back that nobody could read when it was put here, and that this version reads."""
    if letter.kind != "record" or letter.cause != "unreadable":
        return False
    try:
        record = records.decode(letter.content)
    except msgspec.MsgspecError:
        return False
    if letter.subject != subjects.record(record.project) or project not in ("*", record.project):
        return False
    await write_back(bus, record.project, letter.sequence)
    log.info("dead letter %d can be read now and is written back", letter.sequence)
    return True


async def discard(bus: Bus, project: str, sequence: int) -> None:
    """Forgets a dead letter for good."""
    await _one(bus, project, sequence)
    try:
        await bus.jetstream.delete_msg(subjects.DEAD, sequence)
    except (NatsError, TimeoutError) as error:
        raise BusError(f"dead letter {sequence} could not be deleted: {error}") from None


def _with_unknown_fields(work: envelope.Work, content: bytes) -> bytes:
    """Work as it goes back, with what only a newer version understands of it."""
    return _encode({**msgspec.json.decode(content), **msgspec.to_builtins(work)})


async def _one(bus: Bus, project: str, sequence: int) -> DeadLetter:
    message = await _letter(bus, sequence, subjects.dead(project))
    if message is None or message.seq != sequence:
        raise BusError(f"project {project} has no dead letter {sequence}")
    return _read(message)


def _read(message: RawStreamMsg) -> DeadLetter:
    """Never raises: what can't be read is a letter about itself."""
    data, sequence = message.data or b"", message.seq or 0
    try:
        if about := (getattr(message, "headers", None) or {}).get(HEADER):
            letter = _decoder.decode(about)
            letter.content = zlib.decompress(data) if letter.packed else data
            letter.packed = False
        else:
            letter = _of_earlier(_earlier.decode(data), message)
    except (msgspec.MsgspecError, zlib.error) as error:
        reason = f"this letter is not of this version: {error}; upgrade, or discard it"
        letter = DeadLetter(kind="unknown", key=f"letter {sequence}", reason=reason, cause="unreadable", content=data)
    letter.sequence = sequence
    return letter


def _of_earlier(letter: _Earlier, message: RawStreamMsg) -> DeadLetter:
    content, subject = bytes(letter.content), ""
    unreadable = letter.reason.startswith("not a")
    with contextlib.suppress(msgspec.MsgspecError):
        text = msgspec.json.decode(content, type=str)
        content = text.encode()
    project = (message.subject or "").split(".")[1:2]
    if project and letter.kind == "record":
        subject = subjects.record(project[0])
    elif project and not unreadable:
        subject = subjects.earlier_work(project[0])
    return DeadLetter(
        kind=letter.kind, key=letter.key, reason=letter.reason, attempts=letter.attempts, at=letter.at, content=content,
        cause="unreadable" if unreadable else "failed", subject=subject,
    )  # fmt: skip


async def _letter(bus: Bus, sequence: int, subject: str) -> RawStreamMsg | None:
    """The first one of a subject from `sequence` on."""
    try:
        return await bus.jetstream.get_msg(subjects.DEAD, seq=sequence, subject=subject, next=True)
    except NotFoundError:
        return None
    except (NatsError, TimeoutError) as error:
        raise BusError(f"the dead letters can't be read: {error}") from None


def shown(content: bytes) -> object:
    """What a letter is about, for people: JSON where it is some, else its text or, of neither, its bytes in base64."""
    try:
        return msgspec.json.decode(content)
    except (msgspec.MsgspecError, RecursionError):
        pass
    try:
        return content.decode()
    except UnicodeDecodeError:
        return base64.b64encode(content).decode()
