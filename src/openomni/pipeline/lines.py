"""A pipeline's YAML as it is read: what it says, and at which line, so that a mistake is told where it stands."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import yaml

LARGEST = 10_000
"""Values in a file, each counted wherever it is referred to: a few lines of YAML can stand for billions."""

LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""LibYAML's, where PyYAML was built with it: to the other, a few thousand brackets are seconds of work."""


class Unreadable(Exception):
    """It is no YAML that stands for a pipeline; `line` counts from 1, 0 where nobody can say."""

    def __init__(self, reason: str, line: int = 0) -> None:
        super().__init__(reason)
        self.line = line


class Lines(NamedTuple):
    """Where an entry stands, and each of its keys; lines count from 1, and 0 is unknown."""

    line: int = 0
    keys: dict[str, int] = {}


class File(NamedTuple):
    """The lines of the file itself, of each stage, and of `turn_taking`; none are known of what came as no text."""

    top: Lines = Lines()
    stages: tuple[Lines, ...] = ()
    turn_taking: Lines = Lines()


def read(text: str) -> tuple[Any, File]:
    """What the text says. Raises `Unreadable`."""
    try:
        loader = LOADER(text)
        node = loader.get_single_node()
        if _size(node, {}) > LARGEST:
            raise Unreadable(f"holds more than {LARGEST} values, or one within itself; write less")
        document = None if node is None else loader.construct_document(node)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or "it can't be read"
        # What is missing at the end is missed in the last line that says something.
        last = text.rstrip().count("\n") + 1
        raise Unreadable(f"no YAML: {problem}", min(mark.line + 1, last) if mark else 0) from None
    except (ValueError, RecursionError) as error:
        # A date that no calendar has, or thousands of brackets: PyYAML does not say where.
        reason = "it is nested too deep" if isinstance(error, RecursionError) else str(error)
        raise Unreadable(f"no YAML: {reason}") from None
    stages = _under(node, "stages")
    entries = stages.value if isinstance(stages, yaml.SequenceNode) else []
    return document, File(_lines(node), tuple(map(_lines, entries)), _lines(_under(node, "turn_taking")))


def place(where: str, line: int, what: str) -> str:
    """`what` behind the file and its line, for a line of error."""
    return f"{where}:{line}: {what}" if line else f"{where}: {what}"


def _size(node: Any, known: dict[int, float]) -> float:
    """How many values a node stands for; infinity where it holds itself. `known`: those of nodes by their identity."""
    if id(node) not in known:
        known[id(node)] = math.inf  # as long as it is being counted
        within = node.value if isinstance(node, yaml.CollectionNode) else []
        parts = [part for each in within for part in (each if isinstance(each, tuple) else (each,))]
        known[id(node)] = 1 + sum(_size(part, known) for part in parts)
    return known[id(node)]


def _under(node: Any, key: str) -> Any:
    pairs = node.value if isinstance(node, yaml.MappingNode) else []
    return next((value for each, value in pairs if each.value == key), None)


def _lines(node: Any) -> Lines:
    if node is None:
        return Lines()
    pairs = node.value if isinstance(node, yaml.MappingNode) else []
    return Lines(node.start_mark.line + 1, {str(key.value): key.start_mark.line + 1 for key, _ in pairs})
