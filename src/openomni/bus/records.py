"""Records on their way to the database: written without waiting, kept until the bus has them on disk.

`RecordWriter` takes a record at once and sends it from behind; with a journal folder what is not sent survives this
process too. `consume` is the API's single writer: batches, acknowledged only after they were committed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections import deque
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Self

import msgspec
from nats.aio.msg import Msg

from ..records import AnyRecord, decode, encode
from . import subjects
from .connection import Bus, BusError
from .dead import DeadLetter
from .pull import Puller
from .streams import WRITER_ACK_WAIT, writer_consumer

log = logging.getLogger(__name__)

BATCH = 100
Handler = Callable[[list[AnyRecord]], Awaitable[None]]


class Unwritable(BusError):
    """Raised by a handler: this record can never be written, trying again can't help."""


class _Pending(msgspec.Struct):
    key: str
    subject: str
    data: bytes
    file: Path | None = None


class RecordWriter:
    """`async with RecordWriter(bus, journal) as writer: writer.write(record)`; leaving waits a little for the rest."""

    def __init__(self, bus: Bus, journal: str | Path | None = None, *, retry_every: float = 0.5) -> None:
        self._bus = bus
        self._folder = Path(journal) if journal else None
        self._retry_every = retry_every
        self._pending: deque[_Pending] = deque()
        self._some = asyncio.Event()
        self._none = asyncio.Event()
        self._none.set()
        self._run = secrets.token_hex(8)
        self._count = 0
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        if self._folder:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            for file in sorted(self._folder.glob("*.record")):
                subject, _, data = file.read_bytes().partition(b"\n")
                self._add(_Pending(file.stem, subject.decode(), data, file))
        self._task = asyncio.create_task(self._send(), name="record writer")
        return self

    async def __aexit__(self, *exc: object) -> None:
        with contextlib.suppress(BusError):
            await self.flush(2.0)
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._pending:
            log.warning(
                "%d records are not sent yet%s", len(self._pending), "; the journal has them" * bool(self._folder)
            )

    @property
    def pending(self) -> int:
        """Records that the bus has not acknowledged yet."""
        return len(self._pending)

    def write(self, record: AnyRecord) -> None:
        """Returns at once; the record goes out in the order of writing."""
        self._count += 1
        key = f"{time.time_ns():020d}-{self._run}-{self._count}"
        pending = _Pending(key, subjects.record(record.project), encode(record))
        if self._folder:
            pending.file = self._journal(self._folder, pending)
        self._add(pending)

    async def flush(self, timeout: float) -> None:
        """Waits until all is on the bus's disk; raises BusError after `timeout` seconds (nothing is lost then)."""
        try:
            await asyncio.wait_for(self._none.wait(), timeout)
        except TimeoutError:
            raise BusError(f"{len(self._pending)} records were not taken by the bus within {timeout:g} s") from None

    def _add(self, pending: _Pending) -> None:
        self._pending.append(pending)
        self._none.clear()
        self._some.set()

    def _journal(self, folder: Path, pending: _Pending) -> Path | None:
        file = folder / f"{pending.key}.record"
        partial = file.with_suffix(".partial")
        try:
            partial.write_bytes(pending.subject.encode() + b"\n" + pending.data)
            partial.rename(file)
        except OSError as error:
            log.error("no journal for a record (%s); it is kept in memory until the bus takes it", error)
            return None
        return file

    async def _send(self) -> None:
        while True:
            await self._some.wait()
            pending = self._pending[0]
            try:
                # The key makes sending again after a lost acknowledgement harmless.
                await self._bus.store(pending.subject, pending.data, pending.key)
            except BusError as error:
                log.info("%d records wait: %s", len(self._pending), error)
                await asyncio.sleep(self._retry_every)
                await self._bus.connected.wait()
                continue
            self._pending.popleft()
            if pending.file:
                pending.file.unlink(missing_ok=True)
            if not self._pending:
                self._some.clear()
                self._none.set()


async def consume(
    bus: Bus, handler: Handler, *, batch: int = BATCH, retry_every: float = 1.0, ack_wait: float = WRITER_ACK_WAIT
) -> None:
    """Gives every record to `handler`, in batches of at most `batch`; runs until it is cancelled.

    A batch is acknowledged when `handler` returns. When it raises, its records are tried one by one, and those that
    fail come again later, for ever; a record that raises `Unwritable`, or is none, goes to the dead letters.
    """
    while True:
        try:
            await _consume(bus, handler, batch, retry_every, ack_wait)
        except BusError as error:
            # What was not acknowledged comes again.
            log.warning("the writer of records lost the bus: %s", error)
            await asyncio.sleep(retry_every)


async def _consume(bus: Bus, handler: Handler, batch: int, retry_every: float, ack_wait: float) -> None:
    consumer = await writer_consumer(bus, ack_wait)
    async with Puller(bus, subjects.RECORDS, consumer, subjects.record("*"), batch) as puller:
        while True:
            messages = [await puller.next()]
            while len(messages) < batch and (message := puller.next_nowait()):
                messages.append(message)
            readable = [(message, record) for message in messages if (record := await _record(bus, message))]
            if readable:
                await _write(bus, handler, readable, retry_every)


async def _write(bus: Bus, handler: Handler, batch: list[tuple[Msg, AnyRecord]], retry_every: float) -> None:
    try:
        await handler([record for _, record in batch])
    except Unwritable as error:
        if len(batch) == 1:
            await _bury(bus, batch[0][0], str(error))
            return
    except Exception:
        if len(batch) == 1:
            log.exception("a record could not be written; trying again in %g s", retry_every)
            await bus.publish(batch[0][0].reply, b'-NAK {"delay": %d}' % (retry_every * 1e9))
            return
    else:
        for message, _ in batch:
            await bus.publish(message.reply, b"+ACK")
        return
    for one in batch:
        await _write(bus, handler, [one], retry_every)


async def _record(bus: Bus, message: Msg) -> AnyRecord | None:
    try:
        record = decode(message.data)
    except msgspec.MsgspecError as error:
        await _bury(bus, message, f"not a record of this version: {error}")
        return None
    if subjects.record(record.project) != message.subject:
        await _bury(bus, message, f"a record of project {record.project} was sent on {message.subject}")
        return None
    return record


async def _bury(bus: Bus, message: Msg, reason: str) -> None:
    project = message.subject.split(".")[1]
    sequence = message.metadata.sequence.stream
    letter = DeadLetter(
        kind="record", key=f"record {sequence}", reason=reason, attempts=1, at=time.time(),
        content=msgspec.Raw(msgspec.json.encode(message.data.decode(errors="replace"))),
    )  # fmt: skip
    log.error("record %d of project %s can't be written: %s", sequence, project, reason)
    await bus.store(subjects.dead(project), msgspec.json.encode(letter), f"record-{sequence}")
    await bus.publish(message.reply, b"+TERM")
