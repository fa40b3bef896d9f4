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
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self, TypeVar

import msgspec
from nats.aio.msg import Msg

from .. import bounds
from ..background import Background
from ..records import AnyRecord, TurnRecord, decode, encode
from . import dead, journal, subjects
from .connection import Bus, BusError, TooLarge
from .dead import DeadLetter
from .journal import Journal, Pending
from .pull import Puller
from .streams import WRITER_ACK_WAIT, writer_consumer

log = logging.getLogger(__name__)

T = TypeVar("T")

BATCH = 100
GATHER_S = 0.1
"""How long the writer waits for more, once a record has come."""
TRIES = 5
"""How often a record is tried that could not be written, before it goes to the dead letters."""
STUBBORN = 3
"""Refusals of one record by a bus that is there, before those behind it are tried first."""
IN_MEMORY = 64 << 20
"""Bytes of records that may wait in memory: more are read from the journal when they go, or, without one, lost."""
Handler = Callable[[list[AnyRecord]], Awaitable[None]]


class Unwritable(BusError):
    """Raised by a handler: this record can never be written, trying again can't help."""


class RecordsAway(BusError):
    """Raised by a handler: what records are written to is not there. All wait, and it counts against none."""


class RecordWriter:
    """`async with RecordWriter(bus, journal) as writer: writer.write(record)`; leaving waits a little for the rest."""

    def __init__(self, bus: Bus, journal: str | Path | None = None, *, retry_every: float = 0.5) -> None:
        self.lost = 0
        """Records that there was no room for, in memory or in the journal."""
        self._bus = bus
        self._journal = Journal(Path(journal)) if journal else None
        self._retry_every = retry_every
        self._pending: deque[Pending] = deque()
        self._size = 0
        self._refusals = 0
        self._some = asyncio.Event()
        self._none = asyncio.Event()
        self._none.set()
        self._run = secrets.token_hex(8)
        self._count = 0
        self._task: Background | None = None
        self._new: list[Pending] = []
        self._fresh = asyncio.Event()
        self._keeping: Background | None = None
        # One thread: what is written, read and deleted there stays in order.
        self._thread = ThreadPoolExecutor(1, "journal")

    async def __aenter__(self) -> Self:
        if self._journal:
            left = await self._in_thread(self._journal.waiting)
            for pending in left:
                self._add(pending)
            self._keeping = Background(self._keep, "keeping records in the journal")
        self._task = Background(self._send, "sending records to the bus", longest=5.0)
        return self

    async def __aexit__(self, *exc: object) -> None:
        with contextlib.suppress(BusError):
            await self.flush(2.0)
        for background in (self._task, self._keeping):
            if background:
                await background.stop()
        if self._journal:
            await self._in_thread(self._journal.keep, self._new)
        await asyncio.to_thread(self._thread.shutdown)
        if self._pending:
            log.warning(
                "%d records are not sent yet%s", len(self._pending), "; the journal has them" * bool(self._journal)
            )

    @property
    def pending(self) -> int:
        """Records that the bus has not acknowledged yet."""
        return len(self._pending)

    def write(self, record: AnyRecord) -> None:
        """Returns at once; the record goes out in the order of writing.

        One that no message takes goes without its largest outputs, or not at all; the whole is kept beside the
        journal, and a dead letter says so.
        """
        data = encode(record)
        subject = subjects.record(record.project)
        if len(data) > bounds.MAX_RECORD:
            smaller = _without_large_outputs(record, len(data))
            self._refuse(self._key(), subject, data, "the rest of it is recorded" if smaller else "none is recorded")
            if smaller is None:
                return
            data = smaller
        self._put(Pending(self._key(), subject, data, len(data)))

    async def flush(self, timeout: float) -> None:
        """Waits until all is on the bus's disk; raises BusError after `timeout` seconds (nothing is lost then)."""
        try:
            await asyncio.wait_for(self._none.wait(), timeout)
        except TimeoutError:
            raise BusError(f"{len(self._pending)} records were not taken by the bus within {timeout:g} s") from None

    def _key(self) -> str:
        self._count += 1
        return f"{time.time_ns():020d}-{self._run}-{self._count:09d}"

    def _put(self, pending: Pending) -> None:
        if self._size + pending.size > (journal.LIMIT if self._journal else IN_MEMORY):
            self.lost += 1
            if self.lost.bit_count() == 1:  # the first, and each time that they have doubled
                log.error("%d records are lost: %d MiB wait for the bus already", self.lost, self._size >> 20)
            return
        self._add(pending)
        if self._journal:
            self._new.append(pending)
            self._fresh.set()

    def _add(self, pending: Pending) -> None:
        self._pending.append(pending)
        self._size += pending.size
        self._none.clear()
        self._some.set()

    def _refuse(self, key: str, subject: str, data: bytes, what: str) -> None:
        reason = f"a record of {len(data)} bytes is too large for the bus; {what}"
        log.error("%s", reason)
        if self._journal:
            self._thread.submit(self._journal.refuse, key, data)
        letter = dead.excerpt(DeadLetter(kind="record", key=key, reason=reason, subject=subject, content=data))
        content, headers = dead.posted(letter)
        _, project, _ = subject.split(".")
        self._put(Pending(f"{key}-refused", subjects.dead(project), content, len(content), headers))

    # ---- behind ----------------------------------------------------------------------------------------------

    async def _keep(self) -> None:
        assert self._journal is not None
        while True:
            await self._fresh.wait()
            self._fresh.clear()
            batch, self._new = self._new, []
            await self._in_thread(self._journal.keep, batch)
            if self._size > IN_MEMORY:
                for pending in batch:
                    pending.data = None if pending.file else pending.data

    async def _send(self) -> None:
        while True:
            await self._some.wait()
            pending = self._pending[0]
            try:
                data = await self._loaded(pending)
                # The key makes sending again after a lost acknowledgement harmless.
                await self._bus.store(pending.subject, data, pending.key, headers=pending.headers)
            except TooLarge:
                self._done(pending)
                self._refuse(pending.key, pending.subject, data, "none is recorded")
                continue
            except FileNotFoundError as error:
                log.error("a record is gone from the journal: %s", error)
            except BusError as error:
                await self._refused_by_the_bus(error)
                continue
            self._done(pending)

    async def _refused_by_the_bus(self, error: BusError) -> None:
        log.info("%d records wait: %s", len(self._pending), error)
        self._refusals = self._refusals + 1 if self._bus.connected.is_set() else 0
        if self._refusals >= STUBBORN:
            # Whatever the bus has against this one, those behind it need not wait; their versions tell their order.
            self._pending.rotate(-1)
            self._refusals = 0
        await asyncio.sleep(self._retry_every)
        await self._bus.connected.wait()

    def _done(self, pending: Pending) -> None:
        self._pending.popleft()
        self._refusals = 0
        self._size -= pending.size
        pending.over = True
        self._forget(pending)
        if not self._pending:
            self._some.clear()
            self._none.set()

    def _forget(self, pending: Pending) -> None:
        if self._journal and pending.file:
            self._thread.submit(self._journal.forget, pending.file)

    async def _loaded(self, pending: Pending) -> bytes:
        if pending.data is not None:
            return pending.data
        assert self._journal is not None
        return await self._in_thread(self._journal.load, pending)

    async def _in_thread(self, act: Callable[..., T], *given: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, act, *given)


def _without_large_outputs(record: AnyRecord, size: int) -> bytes | None:
    """A turn without as many of its stages' outputs, the largest first, as make it too large; None where that is not
    what makes it so."""
    if not isinstance(record, TurnRecord):
        return None
    stages = list(record.stages)
    sizes = [len(msgspec.json.encode(stage.output)) for stage in stages]
    for place in sorted(range(len(stages)), key=lambda place: -sizes[place]):
        left_out = {"left_out": f"{sizes[place]} bytes, too large for a record"}
        stages[place] = msgspec.structs.replace(stages[place], output=left_out)
        data = encode(msgspec.structs.replace(record, stages=stages))
        if len(data) <= bounds.MAX_RECORD:
            return data
    return None


# ---- the reader ----------------------------------------------------------------------------------------------


async def consume(
    bus: Bus, handler: Handler, *, batch: int = BATCH, retry_every: float = 1.0, ack_wait: float = WRITER_ACK_WAIT
) -> None:
    """Gives every record to `handler`, in batches of at most `batch`; runs until it is cancelled.

    A batch is acknowledged when `handler` returns. When it raises, its records are tried one by one, and those that
    fail come again, `TRIES` times in all; then, or when `handler` raises `Unwritable`, or when it is no record of this
    version, it goes to the dead letters. While it raises `RecordsAway` (or OSError) everything waits, for ever.
    """
    reader = _Reader(bus, handler, batch, retry_every)
    while True:
        try:
            await reader.read(ack_wait)
        except BusError as error:
            # What was not acknowledged comes again.
            log.warning("the writer of records lost the bus: %s", error)
            await asyncio.sleep(retry_every)


class _Reader:
    def __init__(self, bus: Bus, handler: Handler, batch: int, retry_every: float) -> None:
        self._bus = bus
        self._handler = handler
        self._batch = batch
        self._retry_every = retry_every
        self._away = ""
        self._failures: dict[int, int] = {}
        """Place in the stream → how often the record there failed. JetStream's own count holds outages too."""

    async def read(self, ack_wait: float) -> None:
        consumer = await writer_consumer(self._bus, ack_wait)
        every = subjects.record(subjects.ANY)
        async with Puller(self._bus, subjects.RECORDS, consumer, every, batch=self._batch) as puller:
            while True:
                messages = [await puller.next()]
                self._gather(puller, messages)
                if len(messages) < self._batch:
                    # A turn's records come in a few milliseconds: together they cost little more than one.
                    await asyncio.sleep(GATHER_S)
                    self._gather(puller, messages)
                readable = [(message, record) for message in messages if (record := await self._record(message))]
                try:
                    if readable:
                        await self._write(readable)
                        self._away = ""
                except (RecordsAway, OSError) as error:
                    await self._wait([message for message, _ in readable], str(error))

    def _gather(self, puller: Puller, messages: list[Msg]) -> None:
        """What is here, up to a batch."""
        while len(messages) < self._batch and (message := puller.next_nowait()):
            messages.append(message)

    async def _wait(self, messages: list[Msg], reason: str) -> None:
        if reason != self._away:
            log.warning("records wait: %s", reason)
        self._away = reason
        # To those of them that were settled before, this is nothing.
        for message in messages:
            await self._again(message, self._retry_every)
        await asyncio.sleep(self._retry_every)

    async def _write(self, batch: list[tuple[Msg, AnyRecord]]) -> None:
        try:
            await self._handler([record for _, record in batch])
        except (RecordsAway, OSError):
            raise
        except Exception as error:
            if len(batch) == 1:
                await self._failed(batch[0][0], error)
                return
        else:
            for message, _ in batch:
                await self._settle(message, b"+ACK")
            return
        for one in batch:
            await self._write([one])

    async def _failed(self, message: Msg, error: Exception) -> None:
        sequence = message.metadata.sequence.stream
        if isinstance(error, Unwritable):
            await self._bury(message, str(error), "refused")
            return
        count = self._failures[sequence] = self._failures.get(sequence, 0) + 1
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        if count >= TRIES:
            await self._bury(message, reason, "failed", count)
            return
        seen = count > 1
        log.warning("record %d could not be written: %s", sequence, reason, exc_info=None if seen else error)
        await self._again(message, self._retry_every * 2 ** (count - 1))

    async def _record(self, message: Msg) -> AnyRecord | None:
        try:
            record = decode(message.data)
        except msgspec.MsgspecError as error:
            await self._bury(message, f"not a record of this version: {error}", "unreadable")
            return None
        if record.project != message.subject.split(".")[1]:
            reason = f"a record of project {record.project} was sent on {message.subject}"
            await self._bury(message, reason, "refused")
            return None
        return record

    async def _bury(self, message: Msg, reason: str, cause: dead.Cause, attempts: int = 1) -> None:
        _, project, _ = message.subject.split(".")
        sequence = message.metadata.sequence.stream
        letter = DeadLetter(
            kind="record", key=f"record-{sequence}", reason=reason, attempts=attempts, cause=cause,
            subject=message.subject, content=message.data,
        )  # fmt: skip
        log.error("record %d of project %s can't be written: %s", sequence, project, reason)
        await dead.bury(self._bus, project, letter, f"record-{sequence}")
        await self._settle(message, b"+TERM")

    async def _settle(self, message: Msg, verdict: bytes) -> None:
        self._failures.pop(message.metadata.sequence.stream, None)
        await self._bus.publish(message.reply, verdict)

    async def _again(self, message: Msg, delay: float) -> None:
        await self._bus.publish(message.reply, b'-NAK {"delay": %d}' % (delay * 1e9))
