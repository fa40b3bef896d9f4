"""Conversations for the pages' tests: rows as a session writes them, and sound that can be played."""

from __future__ import annotations

import hashlib
import io
import wave
from typing import Any

import numpy as np

RATE = 16_000
BEGAN = 1_790_000_000.0
SAID = (
    ("What is the capital of France?", "The capital of France is Paris."),
    ("And how far is it from here to there?", "That depends on where you are. From Berlin it is about one thousand "
     "kilometres by road, and the train takes around eight hours."),
    ("Thank you. Tell me a story about a fox who learned to speak with people.", "Once upon a time there was a fox who "
     "lived at the edge of a village. Each evening it sat under the window of the baker and listened."),
    ("Stop, that is enough.", "Of course."),
)  # fmt: skip


def conversation(key: str = "talk1", status: str = "closed", sound: bool = True, turns: int = 4) -> str:
    """A session of some turns, 8 s apart; the third is interrupted, the last may have failed."""
    from openomni.api.records.recorder import write_batch
    from openomni.records import SessionRecord

    session = SessionRecord(
        project="default", version=1, session_id=key, pipeline="local", pipeline_hash="9f2ab4c0d1e2" * 4,
        spec={"stages": []}, device="bedside", source="browser", status=status, started_at=BEGAN,  # type: ignore[arg-type]
        ended_at=None if status == "open" else BEGAN + 8 * turns, reason="its agent was lost" * (status == "lost"),
    )  # fmt: skip
    records: list[Any] = [session]
    records += [turn(key, index, failed=status == "lost" and index == turns - 1) for index in range(turns)]
    write_batch(records)
    if sound:
        _record(key, f"{key}-mic", "audio", _speech(8 * turns, 140))
        for index in range(turns):
            _record(key, f"{key}-reply{index}", "reply", _speech(4, 210), f"{key}-{index}")
    return key


def film(session: str, seconds: float = 32.0) -> None:
    """What a camera saw of a session, and what is derived of its recordings."""
    from pathlib import Path
    from tempfile import TemporaryDirectory

    import av

    from api.support import InProcess
    from openomni.api.media import deriving

    with TemporaryDirectory() as folder:
        path = Path(folder) / "film.mkv"
        with av.open(str(path), "w") as out:
            stream: Any = out.add_stream("mjpeg", rate=1)
            stream.width, stream.height, stream.pix_fmt = 320, 240, "yuvj420p"
            for second in range(round(seconds)):
                out.mux(stream.encode(av.VideoFrame.from_ndarray(_scene(second))))
            out.mux(stream.encode(None))
        _store(session, f"{session}-film", "video", path.read_bytes(), media_type="video/x-matroska")
    for key in list(deriving.unsettled()):
        deriving.derive(key, InProcess())
    for key in list(deriving.unplayable()):
        deriving.make_playable(key, InProcess())


def turn(session: str, index: int, *, failed: bool = False, version: int = 2) -> Any:
    from openomni.records import SegmentRecord, StageRecord, TimePointRecord, TurnRecord
    from openomni.trace import Part

    said, reply = SAID[index % len(SAID)]
    start, cut = RATE * 8 * index, index % 4 == 2
    points = {"speech_ended": 0.0, "end_of_turn": 0.25, "reply_sent": 0.8, "playback_started": 0.85}
    points |= {"interrupted": 2.0, "playback_ended": 2.1} if cut else {"playback_ended": 4.85}
    stages = [
        StageRecord(task_id=f"{session}-{index}-{kind}", kind=kind, component=component, agent="local",
                    status="failed" if failed and kind == "llm" else "completed", model_s=model, queue_s=0.01,
                    transfer_s=0.002, load_s=0.0, started_s=begins, ended_s=begins + model + 0.012)
        for kind, component, begins, model in (("stt", "faster-whisper", 0.25, 0.11), ("llm", "llama-cpp", 0.37, 0.2),
                                               ("tts", "piper", 0.58, 0.2))
    ]  # fmt: skip
    return TurnRecord(
        project="default", version=version, turn_id=f"{session}-{index}", session_id=session, index=index,
        pipeline="local", pipeline_hash="9f2ab4c0d1e2" * 4, status="failed" if failed else "completed",
        reason="llama-cpp: out of memory after 31 tokens" if failed else "the person spoke" if cut else "",
        transcript=said, reply_text="" if failed else reply, reply_audio="" if failed else f"{session}-reply{index}",
        recording=f"{session}-mic", voice_to_voice_s=None if failed else 0.85 + 0.01 * (index % 7), heard_at="client",
        residue_s=0.01, interrupted=cut and not failed, segments=[SegmentRecord("user", start, start + 2 * RATE)],
        time_points=[] if failed else [TimePointRecord(name, at, "client") for name, at in points.items()],
        stages=stages, started_at=BEGAN + 8 * index,
        parts=[Part("end_of_turn", "", 0.0, 0.25), Part("model", "stt", 0.26, 0.37), Part("model", "llm", 0.38, 0.58),
               Part("model", "tts", 0.59, 0.79), Part("playback", "", 0.8, 0.85)],
    )  # fmt: skip


def goes_on(session: str, turns: int) -> None:
    """Another turn comes to a session that is open, and then it ends."""
    from openomni.api.records.recorder import write_batch

    write_batch([turn(session, turns)])


def ends(session: str) -> None:
    from openomni.api.records.models import Session

    Session.objects.filter(pk=session).update(status="closed")


def others_project(key: str = "theirs") -> None:
    """A session of a project that the owner of the server does belong to, besides default."""
    from openomni.api.accounts.models import Project
    from openomni.api.records.models import Session

    project, _ = Project.objects.get_or_create(slug="ward", defaults={"name": "Ward"})
    Session.objects.get_or_create(pk=key, defaults={"project": project, "pipeline": "local", "status": "closed"})


def nothing() -> None:
    from openomni.api.media.store import storage
    from openomni.api.records.models import Recording, Session, Turn

    for key in Recording.objects.exclude(key="").values_list("key", flat=True):
        storage().delete(key)
    for model in (Turn, Recording, Session):
        model.objects.all().delete()


def _speech(seconds: float, pitch: int) -> Any:
    """Something that looks like speech: a buzz in words, each second another loudness."""
    at = np.arange(round(seconds * RATE)) / RATE
    words = np.clip(np.sin(at * 2 * np.pi * 1.7), 0, 1) * (at % 8 < 2.2 if seconds > 5 else 1)
    return (np.sign(np.sin(at * 2 * np.pi * pitch)) * words * (0.25 + 0.2 * np.sin(at * 0.9)) * 9000).astype("<i2")


def _scene(second: int) -> Any:
    """Somebody before a window, who moves."""
    across, down = np.meshgrid(np.arange(320), np.arange(240))
    picture = np.stack([90 + down // 4, 110 + down // 5, 150 + across // 6], axis=2)
    middle = 160 + 60 * np.sin(second * 0.7)
    head = (across - middle) ** 2 + (down - 100) ** 2 < 45**2
    body = ((across - middle) / 80) ** 2 + ((down - 240) / 95) ** 2 < 1
    picture[body], picture[head] = (50, 70, 120), (225, 180, 150)
    return picture.astype(np.uint8)


def _record(session: str, key: str, kind: str, samples: Any, turn_id: str = "") -> None:
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setparams((1, 2, RATE, 0, "NONE", ""))
        sound.writeframes(samples.tobytes())
    _store(session, key, kind, file.getvalue(), turn_id=turn_id, rate=RATE, samples=len(samples))


def _store(session: str, key: str, kind: str, content: bytes, **more: Any) -> None:
    from openomni.api.media.store import storage
    from openomni.api.records.models import Recording

    row = Recording(
        id=key, project_id="default", kind=kind, session_id=session, received=len(content), status="complete",
        sha256=hashlib.sha256(content).hexdigest(), **more,
    )  # fmt: skip
    row.key = row.place()
    storage().write(row.key, 0, content)
    storage().finish(row.key, row.sha256, len(content))
    row.save()
