"""The microphone, through PortAudio. What it hears is on disk before it is sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from ... import clock
from ...errors import OpenOmniError
from ...events import AXIS_RATE
from ...storage.spool import Spool, SpoolRecording, new_recording, wav_header
from .. import portaudio
from ..echo import DELAY_S, EchoCanceller
from .sources import BLOCK, BLOCK_S, Block, Captured

SYNC_EVERY_S = 1.0
"""How much of a capture a power cut may take."""
STALLED_S = 5.0
"""A microphone that gives nothing for that long is gone."""


class Microphone:
    """Captures mono at 16 kHz where the device can, else at its own rate; the recording keeps what it gave.

    With an echo canceller it is at 16 kHz in any case, and without the sound of the loudspeaker: so is the recording.
    """

    label = "mic"
    decides_turns = False
    ambient = True

    def __init__(self, device: str | None = None, echo: EchoCanceller | None = None) -> None:
        self.overflows = 0
        """How often the machine was too slow and the device dropped sound."""
        self._device, self._echo = device, echo
        self._queue: asyncio.Queue[tuple[bytes, float] | None] = asyncio.Queue()

    def check(self) -> None:
        self._sounddevice = portaudio.load("the microphone")
        self._chosen = portaudio.choose(self._sounddevice, self._device, "input")
        self._rate = self._best_rate()

    def open(self, spool: Spool, session_id: str, recording_id: str) -> list[SpoolRecording]:
        rate = self._rate if self._echo is None else AXIS_RATE
        meta = new_recording("audio", "audio/wav", rate=rate, session_id=session_id, source=self.label,
                             recording_id=recording_id)  # fmt: skip
        self._recording = spool.record(meta, ".wav")
        self._recording.append(wav_header(rate))
        return [self._recording]

    def stop(self) -> None:
        self._queue.put_nowait(None)

    async def capture(self) -> AsyncGenerator[Captured, None]:
        loop = asyncio.get_running_loop()
        stream = self._start(loop)
        syncing = asyncio.create_task(self._sync())
        axis = _Axis(self._rate)
        try:
            while (item := await self._heard()) is not None:
                pcm, stamp = item
                for block in self._kept(axis, pcm, stamp):
                    yield block
        finally:
            syncing.cancel()
            await asyncio.to_thread(stream.close)
            self._recording.end()

    def _kept(self, axis: _Axis, pcm: bytes, stamp: float) -> Iterator[Block]:
        """What was heard in blocks, once it is in the recording."""
        if self._echo is None:
            self._recording.append(pcm)
            yield from axis.blocks(pcm, stamp)
            return
        for block in axis.blocks(pcm, stamp):
            clean = self._echo.cancel(block.pcm, block.captured)
            self._recording.append(clean)
            sent = bytes(len(clean)) if self._echo.learning else clean
            yield replace(block, captured=block.captured - DELAY_S, pcm=sent)

    async def _heard(self) -> tuple[bytes, float] | None:
        try:
            async with asyncio.timeout(STALLED_S):
                return await self._queue.get()
        except TimeoutError:
            raise OpenOmniError(
                f"the microphone {self._chosen['name']!r} gives nothing any more; what it heard before is kept"
            ) from None

    async def _sync(self) -> None:
        while True:
            await asyncio.sleep(SYNC_EVERY_S)
            await asyncio.to_thread(self._recording.sync)

    def _best_rate(self) -> int:
        try:
            self._sounddevice.check_input_settings(
                device=self._chosen["index"], channels=1, dtype="int16", samplerate=AXIS_RATE
            )
        except self._sounddevice.PortAudioError:
            return int(self._chosen["default_samplerate"])
        return AXIS_RATE

    def _start(self, loop: asyncio.AbstractEventLoop) -> Any:
        def heard(data: Any, count: int, time: Any, status: Any) -> None:
            self.overflows += bool(status.input_overflow)
            stamp = clock.now() - portaudio.lag(time.currentTime - time.inputBufferAdcTime)
            loop.call_soon_threadsafe(self._queue.put_nowait, (bytes(data), stamp))

        try:
            stream = self._sounddevice.RawInputStream(
                samplerate=self._rate, device=self._chosen["index"], channels=1, dtype="int16",
                blocksize=round(self._rate * BLOCK_S), latency="low", callback=heard,
            )  # fmt: skip
            stream.start()
        except self._sounddevice.PortAudioError as error:
            reason = " ".join(str(error).split())
            raise OpenOmniError(
                f"the microphone {self._chosen['name']!r} cannot be opened ({reason}); choose another with --device"
            ) from None
        return stream


class _Axis:
    """Puts sound of any rate onto the session's axis, in blocks of BLOCK samples, each with its stamp."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._position = 0
        self._heard = 0
        self._pending = b""
        self._resampler: Any = None
        if rate != AXIS_RATE:
            import soxr

            self._resampler = soxr.ResampleStream(rate, AXIS_RATE, 1, dtype="int16")

    def blocks(self, pcm: bytes, stamp: float) -> list[Block]:
        """`stamp`: when the first sample of `pcm` was captured."""
        heard_before, self._heard = self._heard, self._heard + len(pcm) // 2
        if self._resampler is not None:
            pcm = self._resampler.resample_chunk(np.frombuffer(pcm, np.int16)).tobytes()
        self._pending += pcm
        blocks = []
        while len(self._pending) >= 2 * BLOCK:
            block, self._pending = self._pending[: 2 * BLOCK], self._pending[2 * BLOCK :]
            captured = stamp + self._position / AXIS_RATE - heard_before / self._rate
            blocks.append(Block(self._position, captured, block))
            self._position += BLOCK
        return blocks
