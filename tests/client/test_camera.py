"""The camera is recorded as it comes, and a picture a second goes along; here a file of JPEGs stands for it."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import av
import numpy as np
import pytest

from client_sound_card import SoundCard
from openomni.client.listener.camera import Camera, open_camera
from openomni.client.listener.sources import BLOCK, Block, CapturedPicture
from openomni.errors import OpenOmniError
from openomni.media import Frame
from openomni.storage.spool import Spool


def footage(path: Path, codec: str, pix_fmt: str) -> Path:
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=10)
        stream.width, stream.height, stream.pix_fmt = 160, 120, pix_fmt
        for number in range(20):
            picture = av.VideoFrame.from_ndarray(np.full((120, 160, 3), number * 10, np.uint8))
            out.mux(stream.encode(picture.reformat(format=pix_fmt)))
        out.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(("codec", "pix_fmt"), [("mjpeg", "yuvj420p"), ("rawvideo", "yuv420p")])
async def test_video_and_sound_are_captured_together(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, codec: str, pix_fmt: str
) -> None:
    card = SoundCard()
    monkeypatch.setitem(sys.modules, "sounddevice", card)  # type: ignore[arg-type]
    camera = Camera(str(footage(tmp_path / "footage.mkv", codec, pix_fmt)))
    camera.check()
    sound, video = camera.open(Spool(tmp_path / "spool"), "s", "r1")
    found = []

    async def capture() -> None:
        async for item in camera.capture():
            found.append(item)  # noqa: PERF401

    capturing = asyncio.create_task(capture())
    while not capturing.done():
        if card.open:
            card.open[0].hear(np.ones(BLOCK))
        await asyncio.sleep(0.001)
    with pytest.raises(OpenOmniError, match="gives nothing any more"):  # the footage ends
        await capturing
    pictures = [item for item in found if isinstance(item, CapturedPicture)]
    assert len(pictures) == 1  # all in less than a second
    assert Frame.from_jpeg(pictures[0].jpeg).pixels.shape == (120, 160, 3)
    assert any(isinstance(item, Block) for item in found)
    assert sound.ended.is_set()
    assert video.ended.is_set()
    with av.open(str(video.path)) as clip:
        assert clip.streams.video[0].codec_context.name == ("mjpeg" if codec == "mjpeg" else "h264")
        assert sum(1 for _ in clip.decode(video=0)) == 20


def test_a_missing_camera_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(OpenOmniError, match="there is no camera at /dev/video77"):
        open_camera("/dev/video77")
    (tmp_path / "no-camera").write_text("nothing to see")
    with pytest.raises(OpenOmniError, match="cannot be opened"):
        open_camera(str(tmp_path / "no-camera"))
