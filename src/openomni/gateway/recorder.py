"""Recording for clients without a spool of their own (a browser, an SDK): what they say and show is on our disk first,
then uploaded until the API has acknowledged it.

The gateway uploads as a part of the server, not with the client's token: that may have expired by then, and what a
gateway that was killed left behind goes up at the next start, whether or not its client ever comes back.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

from ..errors import OpenOmniError
from ..events import AXIS_RATE
from ..records import AnyRecord, RecordingRecord
from ..storage.api import Api, RecordingMeta
from ..storage.spool import Spool, SpoolRecording, new_recording, wav_header
from ..storage.upload import Uploader
from .sound_recording import SoundRecording
from .video_recording import VideoRecording

log = logging.getLogger(__name__)


class InputRecorder:
    """Keeps a spool in `folder` and uploads from it to the API at `url`, also what an earlier run left there. Use it as
    a context: what is not acknowledged at its end stays for the next start. The disk is waited for beside the event
    loop."""

    def __init__(self, folder: Path, url: str, secret: str, publish: Callable[[AnyRecord], None]) -> None:
        self._url, self._secret, self._publish = url, secret, publish
        self._spool = Spool(folder)
        self._uploads: dict[str, tuple[Api, Uploader]] = {}

    async def __aenter__(self) -> InputRecorder:
        # The API's address may be another one than before: the folder is this server's, whatever its port.
        for recording in await asyncio.to_thread(self._spool.waiting, any_token=True, any_server=True):
            if recording.ticket.project:
                self._upload(recording)
            else:
                log.warning("%s is of an earlier version and not uploaded; whose it is isn't known", recording.path)
                recording.release()
        return self

    async def __aexit__(self, *exc: object) -> None:
        for api, uploader in self._uploads.values():
            await uploader.__aexit__(None, None, None)
            await api.close()
        self._uploads.clear()

    async def begin(
        self, *, project: str, session_id: str, site: str, device: str, made_by: str, source: str
    ) -> SoundRecording:
        """A recording of one session, that grows. Raises OpenOmniError when the disk does not take it."""
        meta = new_recording("audio", "audio/wav", rate=AXIS_RATE, session_id=session_id, source=source)
        meta.site, meta.device, meta.made_by = site, device, made_by
        recording = await self._open(meta, ".wav", project, wav_header(AXIS_RATE))
        return SoundRecording(recording, _about(meta, project), self._publish, lambda: self._film(recording))

    def _film(self, sound: SpoolRecording) -> VideoRecording:
        """The pictures that go with that sound."""
        heard = sound.ticket.meta
        meta = new_recording("video", "video/x-matroska", session_id=heard.session_id, source=heard.source)
        meta.site, meta.device, meta.made_by = heard.site, heard.device, heard.made_by
        return VideoRecording(
            lambda: self._open(meta, ".mkv", sound.ticket.project), _about(meta, sound.ticket.project), self._publish
        )

    async def _open(self, meta: RecordingMeta, suffix: str, project: str, head: bytes = b"") -> SpoolRecording:
        recording = await asyncio.to_thread(_begun, self._spool, meta, suffix, project, head)
        self._upload(recording)
        return recording

    def _upload(self, recording: SpoolRecording) -> None:
        project = recording.ticket.project
        if project not in self._uploads:
            api = Api(self._url, self._secret, project)
            self._uploads[project] = api, Uploader(api)
        self._uploads[project][1].add(recording).add_done_callback(_log_refusal)


def _begun(spool: Spool, meta: RecordingMeta, suffix: str, project: str, head: bytes) -> SpoolRecording:
    recording = spool.record(meta, suffix, project)
    try:
        recording.append(head)
    except OpenOmniError:
        recording.release()
        raise
    return recording


def _about(meta: RecordingMeta, project: str) -> RecordingRecord:
    return RecordingRecord(
        project=project, recording_id=meta.recording_id, kind=meta.kind, session_id=meta.session_id,
        device=meta.device, rate=meta.rate, started_at=meta.started_at,
    )  # fmt: skip


def _log_refusal(upload: asyncio.Task[OpenOmniError | None]) -> None:
    if not upload.cancelled() and (refusal := upload.result()) is not None:
        log.error("a recording stays in the spool: %s", refusal)
