"""A pipeline's YAML as it is read: what it says, and at which line, so that a mistake is told where it stands."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..yaml_text import Lines, entries, lines_of, nodes, under


class File(NamedTuple):
    """The lines of the file itself, of each stage, and of `turn_taking`; none are known of what came as no text."""

    top: Lines = Lines()
    stages: tuple[Lines, ...] = ()
    turn_taking: Lines = Lines()


def read(text: str) -> tuple[Any, File]:
    """What the text says. Raises `yaml_text.Unreadable`."""
    found = nodes(text)
    document, node = found[0] if found else (None, None)
    stages = tuple(map(lines_of, entries(under(node, "stages"))))
    return document, File(lines_of(node), stages, lines_of(under(node, "turn_taking")))
