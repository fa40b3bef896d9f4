"""YAML that people write, with the line of each key, so that a mistake is told where it stands and in words."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec
import yaml

LARGEST = 10_000
"""Values in a text, each counted wherever it is referred to: a few lines of YAML can stand for billions."""

LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""LibYAML's, where PyYAML was built with it: to the other, a few thousand brackets are seconds of work."""

_WORDS = {
    "float": "a number", "int": "a whole number", "str": "text", "bool": "true or false", "null": "null",
    "array": "a list", "object": "a mapping",
}  # fmt: skip
"""What msgspec calls the kinds of values, in words."""


class Unreadable(Exception):
    """It is no YAML that stands for anything of ours; `line` counts from 1, 0 where nobody can say."""

    def __init__(self, reason: str, line: int = 0) -> None:
        super().__init__(reason)
        self.line = line


class Lines(NamedTuple):
    """Where an entry stands, and each of its keys; lines count from 1, and 0 is unknown."""

    line: int = 0
    keys: dict[str, int] = {}


def nodes(text: str, most: int = 1) -> list[tuple[Any, Any]]:
    """(what it says, its node) of each document of the text. Raises `Unreadable`, also for more than `most`."""
    found: list[tuple[Any, Any]] = []
    try:
        loader = LOADER(text)
        while loader.check_node():
            node = loader.get_node()
            if len(found) == most:
                several = "a second document begins here; write one" if most == 1 else f"holds more than {most} of them"
                raise Unreadable(several, node.start_mark.line + 1)
            if _size(node, {}) > LARGEST:
                raise Unreadable(f"holds more than {LARGEST} values, or one within itself; write less")
            found.append((loader.construct_document(node), node))
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
    return found


def read_all(text: str, most: int) -> list[tuple[Any, Lines]]:
    """What each document of the text says, empty ones left out, with the lines of its keys. Raises `Unreadable`."""
    return [(content, lines_of(node)) for content, node in nodes(text, most) if content is not None]


def lines_of(node: Any) -> Lines:
    """Of a node and its keys; none are known of what is not there."""
    if node is None:
        return Lines()
    pairs = node.value if isinstance(node, yaml.MappingNode) else []
    return Lines(node.start_mark.line + 1, {str(key.value): key.start_mark.line + 1 for key, _ in pairs})


def under(node: Any, key: str) -> Any:
    """The node under a key; None where there is none."""
    pairs = node.value if isinstance(node, yaml.MappingNode) else []
    return next((value for each, value in pairs if each.value == key), None)


def entries(node: Any) -> list[Any]:
    """The nodes of a list; none of anything else."""
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def place(where: str, line: int, what: str) -> str:
    """`what` behind the file and its line, for a line of error."""
    return f"{where}:{line}: {what}" if line else f"{where}: {what}"


def told(error: msgspec.ValidationError, choices: Mapping[str, tuple[str, ...]] | None = None) -> str:
    """What msgspec says, in words. `choices`: by key, the values that it takes."""
    text = str(error)
    at = re.search(r"`\$\.?([^`]*)`", text)
    name = at[1] if at else "it"
    if found := re.match(r"Expected `([^`]+)`, got `([^`]+)`", text):
        wanted = [_WORDS.get(each, each) for each in found[1].split(" | ")]
        quoted = "; put it in quotes" if wanted[0] == "text" and found[2] in ("bool", "int", "float") else ""
        return f"{name} takes {' or '.join(wanted)}, not {_WORDS.get(found[2], found[2])}{quoted}"
    if (found := re.match(r"Invalid enum value '([^']*)'", text)) and (valid := (choices or {}).get(name)):
        return f"{name} takes {' or '.join(valid)}, not {found[1]!r}"
    return text.replace("`$.", "`").replace(" - at ", " at ")


def _size(node: Any, known: dict[int, float]) -> float:
    """How many values a node stands for; infinity where it holds itself. `known`: those of nodes by their identity."""
    if id(node) not in known:
        known[id(node)] = math.inf  # as long as it is being counted
        within = node.value if isinstance(node, yaml.CollectionNode) else []
        parts = [part for each in within for part in (each if isinstance(each, tuple) else (each,))]
        known[id(node)] = 1 + sum(_size(part, known) for part in parts)
    return known[id(node)]
