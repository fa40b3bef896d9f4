from __future__ import annotations

import struct
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openomni import jpeg
from openomni.errors import MediaError
from openomni.events import Message, Prompt, StageInput, decode_request, encode
from openomni.media import Frame

GREY = Frame(np.full((48, 64, 3), 120, np.uint8)).jpeg()


def claiming(width: int, height: int) -> bytes:
    """A small picture whose header says that it is of another size."""
    data, at = bytearray(GREY), 2
    while data[at + 1] != 0xC0:
        at += 2 + struct.unpack(">H", data[at + 2 : at + 4])[0]
    data[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return bytes(data)


@pytest.fixture
def never_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(data: bytes) -> None:
        raise AssertionError("nobody asked for its pixels")

    monkeypatch.setattr(jpeg, "decode", refuse)


def test_a_picture_keeps_the_bytes_that_it_was_made_of(never_decoded: None) -> None:
    frame = Frame.from_jpeg(GREY, 1.5)
    assert (frame.width, frame.height, frame.at) == (64, 48, 1.5)
    assert repr(frame) == "Frame(64×48 at 1.500 s)"
    assert frame.jpeg() is GREY


def test_a_model_elsewhere_gets_the_very_bytes(never_decoded: None) -> None:
    asked = StageInput(0, Prompt((Message("user", "see?", (Frame.from_jpeg(GREY, 2.0),)),)))
    (picture,) = decode_request(encode(asked)).value.messages[0].images  # type: ignore[union-attr]
    assert (picture.jpeg(), picture.at) == (GREY, 2.0)


def test_pixels_are_decoded_once_for_as_long_as_somebody_holds_them() -> None:
    frame = Frame.from_jpeg(GREY)
    pixels = frame.pixels
    assert (pixels.shape, pixels.dtype) == ((48, 64, 3), np.uint8)
    assert np.abs(pixels.astype(int) - 120).max() <= 2
    assert frame.pixels is pixels


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "no JPEG"),
        (b"no picture", "no JPEG"),
        (GREY[:100], "no JPEG"),
        (claiming(0, 48), "no JPEG"),
        (claiming(4097, 4097), "takes up to 16 million pixels .* not 4097×4097"),
        (claiming(8193, 1), "8192 a side"),
        (GREY + bytes(8 << 20), "takes up to 8 MiB"),
    ],
    ids=["empty", "other", "cut", "flat", "large", "wide", "heavy"],
)
def test_what_can_be_no_picture_is_refused_by_its_header(data: bytes, said: str, never_decoded: None) -> None:
    with pytest.raises(MediaError, match=said):
        Frame.from_jpeg(data)


def test_a_broken_picture_says_so_when_it_is_decoded() -> None:
    frame = Frame.from_jpeg(claiming(4096, 4096))
    with pytest.raises(MediaError, match="broken"):
        _ = frame.pixels


def test_a_second_header_can_not_make_it_larger_than_the_first_says() -> None:
    with pytest.raises(MediaError, match="broken"):
        jpeg.decode(claiming(8000, 8000))


@given(st.binary(max_size=64), st.integers(0, len(GREY)), st.sampled_from([lambda a, b: a + b, lambda a, b: b]))
def test_whatever_comes_is_a_picture_of_some_size_or_refused(
    noise: bytes, cut: int, make: Callable[[bytes, bytes], bytes]
) -> None:
    try:
        width, height = jpeg.size(make(GREY[:cut], noise))
    except MediaError:
        return
    assert 0 < width * height <= 16 << 20
