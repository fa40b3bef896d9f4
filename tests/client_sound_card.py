"""A sound card without a machine around it: the part of sounddevice that we call, driven by a test."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from openomni import clock


class PortAudioError(Exception):
    pass


class SoundCard:
    """Stands in for the module `sounddevice`. `devices` are PortAudio's; `open` lists the streams that were started."""

    PortAudioError = PortAudioError

    def __init__(self, rates: tuple[int, ...] = (16000, 48000), inputs: int = 1, outputs: int = 1) -> None:
        self.rates = rates
        self.default = SimpleNamespace(device={"input": 0, "output": 0})
        self.open: list[Stream] = []
        self.devices = [
            {"index": 0, "name": "Built-in Audio", "default_samplerate": 48000.0,
             "max_input_channels": inputs, "max_output_channels": outputs},
            {"index": 1, "name": "USB Headset", "default_samplerate": 48000.0,
             "max_input_channels": inputs, "max_output_channels": outputs},
        ]  # fmt: skip

    def query_devices(self) -> list[dict[str, Any]]:
        return self.devices

    def check_input_settings(self, samplerate: int, **settings: Any) -> None:
        if samplerate not in self.rates:
            raise PortAudioError("Invalid sample rate")

    def RawInputStream(self, **settings: Any) -> Stream:
        return Stream(self, settings)

    def RawOutputStream(self, **settings: Any) -> Stream:
        return Stream(self, settings)


class Stream:
    """`hear` and `speak` are what PortAudio's thread does."""

    def __init__(self, card: SoundCard, settings: dict[str, Any]) -> None:
        self.card, self.settings = card, settings

    def start(self) -> None:
        self.card.open.append(self)

    def close(self) -> None:
        self.card.open.remove(self)

    def hear(self, samples: Any, age: float = 0.0) -> None:
        """The device captured `samples`, the first of them `age` seconds ago."""
        times = SimpleNamespace(currentTime=100.0, inputBufferAdcTime=100.0 - age)
        data = np.asarray(samples, np.int16).tobytes()
        self.settings["callback"](data, len(samples), times, SimpleNamespace(input_overflow=False))

    def speak(self, count: int, latency: float = 0.01) -> Any:
        """What comes out of the next `count` samples, `latency` seconds from now."""
        out = bytearray(b"\x55" * (2 * count))
        times = SimpleNamespace(currentTime=clock.now(), outputBufferDacTime=clock.now() + latency)
        self.settings["callback"](out, count, times, SimpleNamespace())
        return np.frombuffer(bytes(out), np.int16)
