"""The sessions of this gateway on its disk, so that the next one knows what was being said when this one died.

A file a session, written anew beside the event loop at each change: a session that ends in order leaves none, but that
of a client which is sent away because the gateway stops. It outlives the process, not a power cut: nothing here waits
for the disk. Whatever a gateway finds there at its start, and what lost its host for good, waits a moment for its
client to come back, and is then told as lost; of what ended in order, what was being said.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from .. import clock
from ..background import Background, to_the_end
from ..events import AXIS_RATE, AudioIn
from ..pipeline.beside import Beside
from ..records import AnyRecord
from .access import Access
from .held_session import HeldSession, SessionPlan

log = logging.getLogger(__name__)

COMES_BACK_SECONDS = 20.0
"""How long a session that nobody hosts waits for its client."""
TAIL_SECONDS = 30.0
"""How much of what an earlier gateway recorded of a session is told to its next host."""
GATEWAY_GONE = "its gateway was gone"
NO_HOST = "its agent was gone, and no other took over"
_PIECE = AXIS_RATE
_WAV_HEAD = 44
_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(HeldSession)


@dataclass(frozen=True, slots=True)
class _Left:
    """A session that waits for its client until `deadline`. `sound`: what was recorded here of what is unanswered."""

    deadline: float
    held: HeldSession
    reason: str
    sound: list[AudioIn] = field(default_factory=list)


class SessionJournal:
    """`keep` what is going on, `forget` what ended in order, `leave` what lost its host; `take` it when its client is
    back. Use it as a context; `record` takes a record and returns at once. `recordings`: where this gateway's lie;
    `goes_on` says whether a session is held by this very process, however often it begins with its journal."""

    def __init__(
        self, folder: Path, recordings: Path, record: Callable[[AnyRecord], None], goes_on: Callable[[str], bool]
    ) -> None:
        self._folder, self._recordings, self._record, self._goes_on = folder, recordings, record, goes_on
        self._left: dict[str, _Left] = {}
        self.beside = Beside()
        """What is seen to its end after its client left."""
        self._changed: dict[str, HeldSession | None] = {}
        self._some = asyncio.Event()
        self._running: list[Background] = []

    async def __aenter__(self) -> SessionJournal:
        found = await asyncio.to_thread(self._load)
        deadline = clock.now() + COMES_BACK_SECONDS
        for held, sound in found:
            if self._goes_on(held.plan.session_id):
                continue
            for record in held.host_gone(GATEWAY_GONE):
                self._record(record)
            self._left[held.plan.session_id] = _Left(deadline, held, GATEWAY_GONE, sound)
        self._running = [
            Background(self._write, "keeping sessions in the journal"),
            Background(self._expire, "ending sessions that nobody comes back to"),
        ]
        return self

    async def __aexit__(self, *exc: object) -> None:
        """What waits for its client is told by the next gateway."""
        await self.beside.stop()
        for running in self._running:
            await running.stop()
        await asyncio.to_thread(self._write_all, self._taken())

    def keep(self, held: HeldSession) -> None:
        """It goes on, and this is known of it now."""
        self._put(held.plan.session_id, held)

    def forget(self, session_id: str) -> None:
        self._put(session_id, None)

    def leave(self, held: HeldSession) -> None:
        """Nobody hosts it, nor has ended it."""
        self._left[held.plan.session_id] = _Left(clock.now() + COMES_BACK_SECONDS, held, NO_HOST)
        self.keep(held)

    def take(self, plan: SessionPlan) -> tuple[HeldSession, list[AudioIn]]:
        """What is known of a session that goes on, by now as `plan` says, and what an earlier gateway recorded of it
        last; of another client's it is nothing."""
        left = self._left.get(plan.session_id)
        if left is None or (left.held.plan.project, left.held.plan.device) != (plan.project, plan.device):
            return HeldSession(plan), []
        del self._left[plan.session_id]
        held, goes_on = left.held, left.held.plan.recording == plan.recording
        if not left.sound and not goes_on:
            # What was said is in another recording than what is said now.
            for record in held.nobody_answers(left.reason):
                self._record(record)
        position = held.position if goes_on else None
        return msgspec.structs.replace(held, plan=plan, position=position, closed=False), left.sound

    def begun_by(self, session_id: str, access: Access) -> tuple[bool, bool]:
        """Whether it waits for its client, and whether that is this one: its device, or the token that began it."""
        left = self._left.get(session_id)
        if left is None:
            return False, False
        plan = left.held.plan
        same = plan.device == access.device if access.device else plan.made_by == access.token_id
        return True, same and plan.project == access.project

    def answered(self, session_id: str) -> int | None:
        """Up to where nothing of a session has to be heard again; None for one of which nothing is known."""
        left = self._left.get(session_id)
        return None if left is None else left.held.answered

    # ---- behind ----

    async def _expire(self) -> None:
        while True:
            now = clock.now()
            for session_id, left in list(self._left.items()):
                if now >= left.deadline:
                    del self._left[session_id]
                    for record in left.held.lost(left.reason):
                        self._record(record)
                    self.forget(session_id)
            await asyncio.sleep(1.0)

    def _put(self, session_id: str, held: HeldSession | None) -> None:
        self._changed[session_id] = held
        self._some.set()

    async def _write(self) -> None:
        while True:
            await self._some.wait()
            # What was taken is nowhere else, and what comes after it must not be written before it.
            await to_the_end(asyncio.to_thread(self._write_all, self._taken()))

    def _taken(self) -> list[tuple[Path, bytes | None]]:
        self._some.clear()
        changed, self._changed = self._changed, {}
        return [(self._file(key), None if held is None else _encoder.encode(held)) for key, held in changed.items()]

    def _write_all(self, changed: list[tuple[Path, bytes | None]]) -> None:
        for file, data in changed:
            try:
                if data is None:
                    file.unlink(missing_ok=True)
                    continue
                self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                fresh = file.with_suffix(".new")
                fresh.write_bytes(data)
                fresh.replace(file)
            except OSError as error:
                log.error("what is going on in a session is not on disk (%s): should this gateway die, "
                          "what is being said there may never be a turn", error)  # fmt: skip

    def _file(self, session_id: str) -> Path:
        return self._folder / f"{hashlib.sha256(session_id.encode()).hexdigest()[:32]}.session"

    def _load(self) -> list[tuple[HeldSession, list[AudioIn]]]:
        found = []
        for file in sorted(self._folder.glob("*.session")):
            try:
                held = _decoder.decode(file.read_bytes())
                found.append((held, self._tail(held)))
            except (OSError, msgspec.MsgspecError) as error:
                log.error("%s can't be read (%s), so what was said last in that session is not looked for", file, error)
                file.unlink(missing_ok=True)
        return found

    def _tail(self, held: HeldSession) -> list[AudioIn]:
        """What was not answered of the sound that this folder's gateway recorded."""
        file = self._recordings / f"{held.plan.recording}.wav"
        if held.position is None or not file.exists():
            return []
        samples = max((file.stat().st_size - _WAV_HEAD) // 2, 0)
        end = held.position + samples
        start = max(held.answered, end - round(TAIL_SECONDS * AXIS_RATE), held.position)
        with file.open("rb") as opened:
            opened.seek(_WAV_HEAD + 2 * (start - held.position))
            pcm = opened.read(2 * (end - start))
        now = clock.now()
        held.heard_to = end
        return [
            AudioIn(start + at, now - (end - start - at) / AXIS_RATE, pcm[2 * at : 2 * (at + _PIECE)])
            for at in range(0, end - start, _PIECE)
        ]
