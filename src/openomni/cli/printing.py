"""Standard output and error that take whatever is printed: a terminal, pipe or file need not know our letters, and
whoever reads may go."""

from __future__ import annotations

import codecs
import io
import os
import sys
import unicodedata

SIGNS = {"✓": "+", "✗": "x", "·": "-", "…": "...", "–": "-", "—": "-", "−": "-", "→": "->", "×": "x", "■": "#",
         "♪": "*", "«": '"', "»": '"', "“": '"', "”": '"', "‘": "'", "’": "'"}  # fmt: skip
"""What stands for our signs where the encoding has none of them; what is in neither becomes `?`."""


def never_fail() -> None:
    """From here on no print of this process raises for a letter that its output can't show."""
    codecs.register_error("openomni", _plainer)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="openomni")


def reader_went() -> None:
    """After a BrokenPipeError: nobody reads any more, and Python must not stumble over it again at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def _plainer(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    return "".join(map(_plain, text)), error.end


def _plain(letter: str) -> str:
    if letter in SIGNS:
        return SIGNS[letter]
    if "\u2500" <= letter <= "\u259f":  # lines of boxes, and blocks
        return "-" if letter < "\u2580" else "#"
    return unicodedata.normalize("NFKD", letter).encode("ascii", "ignore").decode() or "?"
