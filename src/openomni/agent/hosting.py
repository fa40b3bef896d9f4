"""Hosts live sessions: answers the gateway, runs each session on a link of its own, cleans up behind it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from ..bus.clocksync import ClockSync
from ..bus.connection import Bus
from ..bus.records import RecordWriter
from ..bus.sessions import OpenSession, SessionOpened, SessionRefused, host_end
from ..clock import Offset
from ..errors import OpenOmniError
from ..events import SessionEnded, SessionOutput
from ..pipeline.beside import Beside
from ..pipeline.earlier import NOTHING_EARLIER, Earlier
from ..pipeline.session import LiveSession
from ..pipeline.spec import Pipeline, parse
from .health import AgentHealth, Busy
from .pool import ComponentPool
from .reply_sound import ReplySounds
from .runner import FleetRunner

log = logging.getLogger(__name__)

Opening = asyncio.Future[SessionOpened | SessionRefused]


class Hosting:
    """`open` is what `bus.sessions.serve_sessions` asks; `stop` ends what still runs. `earlier` says what another host
    did of a session."""

    def __init__(
        self,
        bus: Bus,
        agent_id: str,
        health: AgentHealth,
        pool: ComponentPool,
        replies: ReplySounds,
        writer: RecordWriter,
        clock_sync: ClockSync,
        runner: Callable[[], FleetRunner],
        earlier: Callable[[OpenSession], Awaitable[Earlier]],
    ) -> None:
        self._bus, self._agent_id, self._health, self._pool = bus, agent_id, health, pool
        self._replies, self._writer, self._clock_sync, self._runner = replies, writer, clock_sync, runner
        self._earlier = earlier
        self._running = Beside()

    async def open(self, opened: OpenSession) -> SessionOpened | SessionRefused:
        """Answers once the session listens on its link, or with the reason why it will not."""
        answer: Opening = asyncio.get_running_loop().create_future()
        self._running.start(self._host(opened, answer), f"session {opened.session_id}")
        return await answer

    async def stop(self) -> None:
        """Ends what runs; the sessions are recorded as lost, and their gateways are told."""
        await self._running.stop()

    async def _host(self, opened: OpenSession, answer: Opening) -> None:
        try:
            with self._health.hold("session", opened.cell):
                await self._serve(opened, answer)
        except (Busy, OpenOmniError) as error:
            self._refuse(answer, str(error))
            log.warning("session %s: %s", opened.session_id, error)
        except Exception as error:
            self._refuse(answer, f"{type(error).__name__}: {error}")
            log.exception("session %s broke off", opened.session_id)
        finally:
            self._refuse(answer, "the agent is stopping")

    async def _serve(self, opened: OpenSession, answer: Opening) -> None:
        pipeline, runner = parse(opened.spec, opened.pipeline), self._runner()
        if missing := runner.missing(pipeline.stages):
            raise OpenOmniError(
                f"no agent offers {', '.join(missing)}; start one: openomni agent --offer {','.join(missing)}"
            )
        detector = await self._pool.turn_taking.detector(pipeline.turn_taking.vad)
        named = pipeline.turn_taking.judge
        judge = await self._pool.turn_taking.judge(named) if named else None
        self._load(pipeline)
        earlier = await self._earlier(opened) if opened.settings.get("resumed") else NOTHING_EARLIER
        async with host_end(self._bus, opened) as link:

            async def emit(event: SessionOutput) -> None:
                await link.send(event)

            session = LiveSession(
                opened,
                runner,
                detector,
                emit,
                self._writer.write,
                lambda: self._replies.of(opened.session_id),
                lambda: self._clock_sync.offset or Offset(),
                earlier,
                judge,
                self._replies.pictures_of(opened.session_id),
            )
            answer.set_result(SessionOpened(self._agent_id))
            log.info("session %s opened: pipeline %s", opened.session_id, pipeline.name)
            try:
                await session.run(link)
            except asyncio.CancelledError:
                await emit(SessionEnded("its agent stopped"))
                raise
            except BaseExceptionGroup as group:
                reason = _first_line(group)
                log.warning("session %s broke off: %s", opened.session_id, reason)
                await emit(SessionEnded(reason))
            else:
                log.info("session %s closed", opened.session_id)

    def _load(self, pipeline: Pipeline) -> None:
        """Begins to load what is not warm yet, while the person still speaks."""
        for stage in pipeline.stages:
            if (stage.kind, stage.component) in self._pool:
                self._running.start(self._warm(self._pool.warm(stage)), f"load {stage.name}")

    @staticmethod
    async def _warm(warming: Coroutine[Any, Any, float]) -> None:
        try:
            await warming
        except OpenOmniError as error:
            log.warning("%s", error)  # the turn that needs it says so to its person

    def _refuse(self, answer: Opening, reason: str) -> None:
        if not answer.done():
            answer.set_result(SessionRefused(self._agent_id, reason))


def _first_line(group: BaseExceptionGroup[BaseException]) -> str:
    """The first error of a group, as one line."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    said = " ".join(str(error).split())
    return said if isinstance(error, OpenOmniError) and said else f"{type(error).__name__}: {said}"
