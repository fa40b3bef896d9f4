"""The camera, beside the microphone: its video is recorded as it comes, and a picture a second is sent live."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

from ... import clock
from ...errors import OpenOmniError
from ...events import AXIS_RATE
from ...storage.spool import Spool, SpoolRecording, new_recording
from ..echo import EchoCanceller
from .microphone import Microphone
from .sources import PICTURE_EVERY_S, Block, Captured, CapturedPicture, jpeg

DEVICE = "/dev/video0"
_V4L2 = {"input_format": "mjpeg", "video_size": "640x480", "framerate": "15"}


class Camera:
    """Video of a V4L2 camera and sound of the microphone, on one axis."""

    label = "camera"
    decides_turns = False
    ambient = True

    def __init__(self, camera: str = DEVICE, microphone: str | None = None, echo: EchoCanceller | None = None) -> None:
        self._camera = camera
        self._microphone = Microphone(microphone, echo)
        self._stopped = threading.Event()

    def check(self) -> None:
        self._container = open_camera(self._camera)
        self._microphone.check()

    def open(self, spool: Spool, session_id: str, recording_id: str) -> list[SpoolRecording]:
        sound = self._microphone.open(spool, session_id, recording_id)
        meta = new_recording("video", "video/x-matroska", session_id=session_id, source=self.label)
        self._recording = spool.record(meta, ".mkv")
        return [*sound, self._recording]

    def stop(self) -> None:
        self._microphone.stop()

    async def capture(self) -> AsyncIterator[Captured]:
        loop = asyncio.get_running_loop()
        pictures: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        def show(at: float, picture: bytes) -> None:
            loop.call_soon_threadsafe(pictures.put_nowait, (at, picture))

        filming = loop.run_in_executor(None, film, self._container, self._recording, show, self._stopped)
        try:
            async with aclosing(self._microphone.capture()) as heard:  # or its recording would end at some time later
                async for item in heard:
                    if isinstance(item, Block):
                        while not pictures.empty():
                            at, picture = pictures.get_nowait()
                            # The block's stamp ties the axis to the clock.
                            position = item.position + round((at - item.captured) * AXIS_RATE)
                            yield CapturedPicture(max(position, 0), picture)
                    yield item
                    if filming.done():
                        filming.result()
                        raise OpenOmniError(
                            f"the camera {self._camera} gives nothing any more; what it saw before is kept"
                        )
        finally:
            self._stopped.set()
            await asyncio.wait([filming])
            self._recording.end()


def open_camera(device: str) -> Any:
    """Raises OpenOmniError with the mend when there is no such camera. A path of a file is read as if it were one."""
    import av

    path = Path(device)
    if not path.exists():
        raise OpenOmniError(f"there is no camera at {device}; plug one in, or name it with --camera /dev/videoN")
    is_camera = path.is_char_device()
    try:
        return av.open(device, format="v4l2" if is_camera else None, options=_V4L2 if is_camera else {})
    except (av.FFmpegError, OSError) as error:
        raise OpenOmniError(f"the camera {device} cannot be opened ({error}); is another program using it?") from None


def film(container: Any, recording: SpoolRecording, show: Any, stopped: threading.Event) -> None:
    """Records until `stopped`, and gives `show` a picture a second with its stamp.

    A camera that gives JPEG, as nearly all do, is recorded without touching a pixel; another's video is compressed.
    """
    import av

    source = container.streams.video[0]
    with container, av.open(recording, "w", format="matroska") as out:
        copied = source.codec_context.name == "mjpeg"
        target: Any = out.add_stream_from_template(source) if copied else _compressed(out, source)
        due = 0.0
        for packet in container.demux(source):
            if stopped.is_set() or packet.dts is None:
                break
            now = clock.now()
            frames = [] if copied else packet.decode()
            if now >= due and (copied or frames):
                due = now + PICTURE_EVERY_S
                show(now, bytes(packet) if copied else jpeg(frames[0]))
            if copied:
                packet.stream = target
                out.mux(packet)
            for frame in frames:
                out.mux(target.encode(frame))
        if not copied:
            out.mux(target.encode(None))


def _compressed(out: Any, source: Any) -> Any:
    target = out.add_stream("libx264", rate=source.average_rate or 15, options={"preset": "ultrafast", "crf": "28"})
    target.width, target.height = source.codec_context.width, source.codec_context.height
    target.pix_fmt = "yuv420p"
    return target
