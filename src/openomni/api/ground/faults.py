"""What is wrong with a body or a query, in one line for people: where, and what it takes there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Fault = Mapping[str, Any]
WRAPPERS = ("body", "query", "path", "payload", "wanted", "paging")
"""In front of a place, names that only our code knows."""


def fault_line(fault: Fault) -> str:
    """Of one of pydantic's errors."""
    parts = [str(part) for part in fault.get("loc", ())]
    # In front alone: a field may have such a name.
    for wrapper in (WRAPPERS[:3], WRAPPERS[3:]):
        if len(parts) > 1 and parts[0] in wrapper:
            del parts[0]
    where = ".".join(parts)
    try:
        told = _WORDS[str(fault.get("type"))](fault.get("ctx") or {})
    except (KeyError, ValueError):
        told = str(fault.get("msg", "not valid")).removeprefix("Value error, ")
    return f"{where}: {told}" if where else told


def _at_least(ctx: Fault) -> str:
    least = ctx["min_length"]
    return "it is empty; give one at least" if least == 1 else f"give {least} at least"


def _words(text: str) -> Callable[[Fault], str]:
    return lambda ctx: text.format(**{name: _number(value) for name, value in ctx.items()})


def _number(value: Any) -> Any:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}" if isinstance(value, float) else value


_WORDS: dict[str, Callable[[Fault], str]] = {
    "extra_forbidden": _words("unknown name; correct it, or leave it out"),
    "missing": _words("it is missing; give it"),
    "literal_error": _words("it takes {expected}"),
    "greater_than_equal": _words("it takes {ge} or more"),
    "greater_than": _words("it takes more than {gt}"),
    "less_than_equal": _words("it takes {le} at most"),
    "less_than": _words("it takes less than {lt}"),
    "too_short": _at_least,
    "string_too_short": _at_least,
    "too_long": _words("it is too long; {max_length} are the most"),
    "string_too_long": _words("it is too long; {max_length} characters are the most"),
    "string_type": _words("it takes text"),
    "int_type": _words("it takes a whole number"),
    "int_from_float": _words("it takes a whole number"),
    "float_type": _words("it takes a number"),
    "finite_number": _words("it takes a number that is finite"),
    "bool_type": _words("it takes true or false"),
    "list_type": _words("it takes a list"),
    "dict_type": _words("it takes an object"),
    "model_attributes_type": _words("it takes an object"),
}
"""By pydantic's type of an error; of others, its own words are used."""
