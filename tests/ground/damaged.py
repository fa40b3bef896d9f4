"""Small media files as they come: late, damaged, with several tracks, lying on their side."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from openomni.media import Audio

RATE = 48_000
CLICK_S = 0.2
UNTURNED = (65536, 0, 0, 65536)


def click(frequency: float = 1000.0) -> Audio:
    """Something that is found again: a tone that fades."""
    time = np.arange(round(CLICK_S * RATE)) / RATE
    return Audio(0.8 * np.sin(2 * np.pi * frequency * time) * np.hanning(len(time)), RATE)


def with_clicks(seconds: float, *at: float) -> Audio:
    samples = np.zeros(round(seconds * RATE), np.float32)
    for start in at:
        first = round(start * RATE)
        samples[first : first + round(CLICK_S * RATE)] = click().samples
    return Audio(samples, RATE)


def found(audio: Audio) -> list[float]:
    """Where clicks begin, by cross-correlation, in seconds."""
    wanted = click().resample(audio.rate).samples
    length = 1 << (len(audio.samples) + len(wanted)).bit_length()
    spectrum = np.fft.rfft(audio.samples, length) * np.conj(np.fft.rfft(wanted, length))
    match = np.fft.irfft(spectrum, length)[: max(len(audio.samples) - len(wanted), 0) + 1] / np.dot(wanted, wanted)
    places = []
    while match.max() > 0.5:
        place = int(match.argmax())
        places.append(place / audio.rate)
        match[max(place - len(wanted), 0) : place + len(wanted)] = 0
    return sorted(places)


Part = tuple[float, Audio]


def write(
    path: Path, *tracks: Iterable[Part], codec: str = "aac", pictures: float = 0.0, channels: str = "mono",
    default: int | None = None,
) -> Path:  # fmt: skip
    """A file of tracks of sound, each of parts that begin where it is said (seconds), the gaps between left out, and
    with `pictures` seconds of video, white above and black below."""
    with av.open(str(path), "w") as out:
        film = None
        if pictures:
            film = out.add_stream("mpeg4", rate=5)
            film.width, film.height, film.pix_fmt = 64, 48, "yuv420p"
        streams = []
        for number, _ in enumerate(tracks):
            stream = out.add_stream(codec, rate=RATE, layout=channels)
            if default is not None:
                stream.disposition = int(number == default)
            streams.append(stream)
        if film is not None:
            pixels = np.zeros((48, 64, 3), np.uint8)
            pixels[:24] = 255
            for _ in range(round(pictures * 5)):
                out.mux(film.encode(av.VideoFrame.from_ndarray(pixels)))
            out.mux(film.encode(None))
        for stream, parts in zip(streams, tracks, strict=True):
            for start, audio in parts:
                _encode(out, stream, start, np.atleast_2d(audio.samples))
            out.mux(stream.encode(None))
    return path


def _encode(out: av.container.OutputContainer, stream: av.AudioStream, start: float, planes: np.ndarray) -> None:
    size = stream.codec_context.frame_size or 1024
    converted = av.AudioResampler(format=stream.format, layout=stream.layout, rate=RATE, frame_size=size)
    layout = "mono" if len(planes) == 1 else "stereo"
    planes = np.ascontiguousarray(planes[:, : planes.shape[1] // size * size], np.float32)
    frame = av.AudioFrame.from_ndarray(planes, "fltp", layout)
    frame.sample_rate, frame.time_base, frame.pts = RATE, Fraction(1, RATE), 0
    for number, part in enumerate([*converted.resample(frame), *converted.resample(None)]):
        part.pts, part.time_base = round(start * RATE) + number * size, Fraction(1, RATE)
        out.mux(stream.encode(part))


def spoil(path: Path, begin: float, end: float) -> Path:
    """Overwrites the part between these fractions of a file."""
    data = bytearray(path.read_bytes())
    first, last = round(begin * len(data)), round(end * len(data))
    data[first:last] = bytes(byte ^ 0x5A for byte in data[first:last])
    path.write_bytes(data)
    return path


def turn(path: Path, matrix: tuple[int, int, int, int]) -> Path:
    """Writes how the pictures of an MP4 are to be turned into the head of its first track."""

    def head(a: int, b: int, c: int, d: int) -> bytes:
        return struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)

    data = path.read_bytes()
    place = data.index(head(*UNTURNED), data.index(b"tkhd"))
    path.write_bytes(data[:place] + head(*matrix) + data[place + 36 :])
    return path
