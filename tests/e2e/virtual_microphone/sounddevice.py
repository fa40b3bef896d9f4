"""Stands in for `sounddevice` where a test puts this folder first on the path: a microphone in a silent room.

It hears the WAV files that are put into the folder `OPENOMNI_TEST_ROOM`, one after another, and writes all samples
that it gave into the file `heard.pcm` there.
"""

from __future__ import annotations

import os
import threading
import time
import wave
from pathlib import Path
from types import SimpleNamespace
from typing import Any

ROOM = Path(os.environ["OPENOMNI_TEST_ROOM"])
default = SimpleNamespace(device={"input": 0, "output": -1})


class PortAudioError(Exception):
    pass


def query_devices() -> list[dict[str, Any]]:
    device = {"index": 0, "name": "Virtual", "default_samplerate": 16000.0}
    return [{**device, "max_input_channels": 1, "max_output_channels": 0}]


def check_input_settings(**settings: Any) -> None:
    pass


class RawInputStream:
    def __init__(self, *, blocksize: int, callback: Any, **settings: Any) -> None:
        self._count, self._callback = blocksize, callback
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._hear)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._closing.set()
        self._thread.join()

    def _hear(self) -> None:
        due, spoken, played = time.monotonic(), b"", set[Path]()
        size = 2 * self._count
        with (ROOM / "heard.pcm").open("wb", buffering=0) as heard:
            while not self._closing.wait(max(due - time.monotonic(), 0)):
                for path in sorted(set(ROOM.glob("*.wav")) - played):
                    played.add(path)
                    with wave.open(str(path)) as sound:
                        spoken += sound.readframes(sound.getnframes())
                block, spoken = spoken[:size].ljust(size, b"\0"), spoken[size:]
                heard.write(block)
                times = SimpleNamespace(currentTime=0.0, inputBufferAdcTime=-self._count / 16_000)
                self._callback(block, self._count, times, SimpleNamespace(input_overflow=False))
                due += self._count / 16_000
