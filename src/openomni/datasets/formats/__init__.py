"""The formats of datasets, a file each; `FORMATS` is all of them in the order in which they are recognised."""

from __future__ import annotations

from collections.abc import Mapping

from ..place import Place
from .audio_folder import AudioFolder
from .iemocap import Iemocap
from .interface import Format, Found
from .jsonl import Jsonl
from .kaldi import Kaldi
from .lhotse import Lhotse
from .meld import Meld
from .nemo import Nemo
from .time_points import TimePoints

# What asks for most comes first: an audio folder is whatever has sound in it.
FORMATS: Mapping[str, Format] = {
    each.name: each for each in (Meld(), Iemocap(), Kaldi(), Lhotse(), Nemo(), Jsonl(), AudioFolder(), TimePoints())
}


def recognise(place: Place) -> Format | None:
    """The format that a path is of, by what lies there; None where it is none of them."""
    return next((each for each in FORMATS.values() if each.recognises(place)), None)


__all__ = ["FORMATS", "Format", "Found", "TimePoints", "recognise"]
