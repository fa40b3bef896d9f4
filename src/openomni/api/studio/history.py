"""A pipeline's versions: the text of each, and what differs between two."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Any

import yaml

from ..pipelines.catalogue import Found
from ..pipelines.models import PipelineVersion

AROUND = 3
"""Lines shown before and behind a difference."""


@dataclass(frozen=True, slots=True)
class DifferenceLine:
    """A line of a difference: `sign` is + (added), − (removed) or a space; numbers from 1, None where it isn't."""

    sign: str
    old: int | None
    new: int | None
    text: str

    @property
    def said(self) -> str:
        """The sign in words, and as a class for style."""
        return {"+": "added", "−": "removed"}.get(self.sign, "")


def text_of(version: PipelineVersion | Found) -> str:
    """The YAML as it was written; where only its content is known, that in YAML."""
    return version.text or written(version.spec)


def written(spec: dict[str, Any]) -> str:
    """A normalised pipeline as YAML; what is empty is left out."""
    content = {key: value for key, value in spec.items() if value or key in ("name", "stages")}
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100)


def difference(old: str, new: str) -> list[list[DifferenceLine]]:
    """The pieces in which two texts differ, each with the lines around it; none when they are the same."""
    before, after = old.splitlines(), new.splitlines()
    pieces = []
    for group in difflib.SequenceMatcher(None, before, after, autojunk=False).get_grouped_opcodes(AROUND):
        piece: list[DifferenceLine] = []
        for what, start, end, from_, to in group:
            if what == "equal":
                piece += [
                    DifferenceLine(" ", start + at + 1, from_ + at + 1, text)
                    for at, text in enumerate(before[start:end])
                ]
                continue
            piece += [DifferenceLine("−", start + at + 1, None, text) for at, text in enumerate(before[start:end])]
            piece += [DifferenceLine("+", None, from_ + at + 1, text) for at, text in enumerate(after[from_:to])]
        if any(line.said for line in piece):
            pieces.append(piece)
    return pieces
