"""A component's parameters in words, from the JSON Schema that its agent registered."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_WORDS = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false", "array": "list",
          "object": "mapping", "null": "null"}  # fmt: skip
_BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter: what it takes and what it is by default, in words; `default` is empty where it must be given."""

    name: str
    takes: str
    default: str
    required: bool
    about: str


def parameters(schema: Mapping[str, Any]) -> list[Parameter]:
    """Those of a schema, in its order; none for one of another form: what an agent registers is not trusted."""
    properties, required = schema.get("properties"), schema.get("required")
    if not isinstance(properties, Mapping):
        return []
    needed = set(map(str, required)) if isinstance(required, list) else set()
    return [
        Parameter(
            str(name),
            _takes(rule),
            json.dumps(rule["default"], ensure_ascii=False) if "default" in rule else "",
            name in needed,
            str(rule.get("description", "")),
        )
        for name, rule in properties.items()
        if isinstance(rule, Mapping)
    ]


def _takes(rule: Mapping[str, Any]) -> str:
    if isinstance(choices := rule.get("enum"), list):
        return " or ".join(json.dumps(choice, ensure_ascii=False) for choice in choices)
    if isinstance(options := rule.get("anyOf"), list):
        return " or ".join(dict.fromkeys(_takes(option) for option in options if isinstance(option, Mapping)))
    word = _WORDS.get(str(rule.get("type")), "any value")
    bounds = [f"{sign}\u00a0{rule[key]}" for key, sign in _BOUNDS.items() if key in rule]
    inner = rule.get("items")
    of = f" of {_takes(inner)}" if word == "list" and isinstance(inner, Mapping) else ""
    return f"{word}{of} {', '.join(bounds)}".strip()
