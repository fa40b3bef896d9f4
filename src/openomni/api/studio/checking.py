"""Holds a pipeline's text against what is known in a project, as `openomni pipelines check` and REST do, and keeps the
lines apart from the words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ...pipeline import spec as pipeline_spec

WHERE = "pipeline"
LONGEST = 200_000
"""Characters of a text that is still read."""


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong, in words with the mend, and at which line from 1; 0 where it is of no line."""

    text: str
    line: int = 0


@dataclass(frozen=True, slots=True)
class Checked:
    """`pipeline` is None when the text can't be read as one."""

    pipeline: pipeline_spec.Pipeline | None = None
    problems: list[Problem] = field(default_factory=list)


def check_text(text: str, known: Mapping[tuple[str, str], Mapping[str, Any]]) -> Checked:
    """`known`: (kind, component) → JSON Schema."""
    if len(text) > LONGEST:
        return Checked(None, [Problem(f"this is longer than {LONGEST} characters; a pipeline is a page at most")])
    try:
        pipeline = pipeline_spec.parse(text, WHERE)
    except pipeline_spec.PipelineError as error:
        return Checked(None, [_problem(str(error))])
    return Checked(pipeline, [_problem(line) for line in pipeline_spec.check(pipeline, known)])


def line_of_name(text: str) -> int:
    """Where the file says its name; 0 where it does not."""
    found = re.search(r"^name\s*:", text, re.MULTILINE)
    return text[: found.start()].count("\n") + 1 if found else 0


def renamed(text: str, name: str) -> str:
    """The same file with another name, as it is written otherwise."""
    return re.sub(r"^name\s*:.*$", f"name: {name}", text, count=1, flags=re.MULTILINE)


def _problem(line: str) -> Problem:
    found = re.match(rf"{WHERE}(?::(\d+))?: (.*)", line, re.DOTALL)
    return Problem(found[2], int(found[1] or 0)) if found else Problem(line)
