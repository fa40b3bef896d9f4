"""The JSON Schema of a component's parameters, from its constructor's annotations and docstring; and its checks.

A schema travels: the API checks a pipeline against it without the package installed. So `check` needs the schema
alone, and `convert` makes of YAML's values what the annotations say (a `Path`, a tuple, a dataclass).
"""

from __future__ import annotations

import inspect
import operator
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, get_type_hints

import msgspec

from ..errors import WrongUsage, nearest

Schema = dict[str, Any]

_WORDS = {
    "string": "text", "integer": "a whole number", "number": "a number", "boolean": "true or false",
    "array": "a list", "object": "a mapping", "null": "nothing",
}  # fmt: skip


def of(cls: type) -> Schema:
    """The schema of what `cls` is built with, by keyword. An annotation that JSON can't say takes anything."""
    hints = _hints(cls)
    docs = _argument_docs(cls)
    parameters = {p.name: p for p in _signature(cls).parameters.values()}
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    named = {n: p for n, p in parameters.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    properties: dict[str, Schema] = {}
    definitions: dict[str, Schema] = {}
    for name, parameter in named.items():
        described, more = _schema(hints.get(name, Any))
        definitions |= more
        if parameter.default is not parameter.empty:
            described |= _default(parameter.default)
        if name in docs:
            described.setdefault("description", docs[name])
        properties[name] = described
    schema: Schema = {"type": "object", "properties": properties, "additionalProperties": open_ended}
    required = [name for name, parameter in named.items() if parameter.default is parameter.empty]
    if required:
        schema["required"] = required
    if definitions:
        schema["$defs"] = definitions
    return schema


def check(schema: Mapping[str, Any], parameters: Mapping[str, Any], where: str) -> None:
    """Raises `WrongUsage`, one line that begins with `where`, for the first parameter that does not fit."""
    for _, fault in faults(schema, parameters):
        raise WrongUsage(f"{where}: {fault}")


def faults(schema: Mapping[str, Any], parameters: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Each parameter that does not fit, with what is wrong with it."""
    known = schema.get("properties", {})
    for name, value in parameters.items():
        if name in known:
            fault = _fault(known[name], value, schema.get("$defs", {}))
            if fault:
                yield name, f"parameter {name!r} {fault}"
        elif not schema.get("additionalProperties", True):
            hint = nearest(name, known) if known else "it has no parameters"
            yield name, f"unknown parameter {name!r}; {hint}"
    for name in schema.get("required", ()):
        if name not in parameters:
            yield name, f"parameter {name!r} is missing; give it {_wanted(known[name])}"


def convert(cls: type, parameters: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The parameters, checked and as the annotations of `cls` say. Raises `WrongUsage`."""
    check(of(cls), parameters, where)
    hints = _hints(cls)
    converted = {}
    for name, value in parameters.items():
        try:
            converted[name] = msgspec.convert(value, hints.get(name, Any), dec_hook=_from_builtin)
        except msgspec.ValidationError as error:
            raise WrongUsage(f"{where}: parameter {name!r}: {error}") from None
        except TypeError:  # an annotation that msgspec does not know: the author takes what YAML gives
            converted[name] = value
    return converted


_ARGUMENTS = re.compile(r"^(?:Args|Arguments|Parameters):\n((?:[ \t]+.*\n?|\n)+)", re.MULTILINE)

# ---- from annotations ----------------------------------------------------------------------------------------


def _signature(cls: type) -> inspect.Signature:
    try:
        return inspect.signature(cls)
    except ValueError:
        return inspect.Signature()


def _hints(cls: type) -> dict[str, Any]:
    constructor: Any = cls.__init__  # type: ignore[misc]  # the class's own, to read its annotations
    if not inspect.isfunction(constructor):  # made in C, as by msgspec: the fields are the parameters
        constructor = cls
    try:
        return get_type_hints(constructor, include_extras=True)
    except (NameError, TypeError):
        return _hints_one_by_one(cls, constructor)


def _hints_one_by_one(cls: type, constructor: Any) -> dict[str, Any]:
    """One annotation that can't be resolved, imported for type checkers only, must not hide the others."""
    scope = dict(getattr(constructor, "__globals__", {}))
    hints: dict[str, Any] = {}
    for name, parameter in _signature(cls).parameters.items():
        holder = type("Holder", (), {"__annotations__": {name: parameter.annotation}})
        try:
            hints[name] = get_type_hints(holder, scope, include_extras=True)[name]
        except (NameError, TypeError):
            hints[name] = Any
    return hints


def _schema(hint: Any) -> tuple[Schema, dict[str, Schema]]:
    if hint is inspect.Parameter.empty:
        return {}, {}
    try:
        (schema,), definitions = msgspec.json.schema_components([hint], schema_hook=_schema_of_other)
    except (TypeError, NotImplementedError):
        return {}, {}
    return dict(schema), definitions


def _schema_of_other(hint: type) -> Schema:
    if issubclass(hint, Path):
        return {"type": "string", "format": "path"}
    raise NotImplementedError


def _from_builtin(hint: type, value: Any) -> Any:
    if issubclass(hint, Path) and isinstance(value, str):
        return hint(value)
    raise TypeError(f"no way to make {hint.__name__} of {type(value).__name__}")


def _default(value: Any) -> Schema:
    try:
        return {"default": msgspec.json.decode(msgspec.json.encode(value, enc_hook=_to_builtin))}
    except (TypeError, NotImplementedError):
        return {}


def _to_builtin(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    raise NotImplementedError


def about(cls: type) -> str:
    """The docstring of the class itself, up to its `Args:` section."""
    text = inspect.cleandoc(cls.__dict__.get("__doc__") or "")
    return _ARGUMENTS.split(text)[0].strip()


def _argument_docs(cls: type) -> dict[str, str]:
    """The `Args:` section of a Google-style docstring, of the class or of its constructor."""
    docs: dict[str, str] = {}
    for documented in (cls, cls.__init__):  # type: ignore[misc]
        text = inspect.cleandoc(documented.__doc__ or "")
        section = _ARGUMENTS.search(text)
        if section:
            body = inspect.cleandoc("\n" + section[1])
            for entry in re.split(r"\n(?=\S)", body):
                name, colon, about = entry.partition(":")
                if colon:
                    docs[re.sub(r"\s*\(.*\)", "", name).strip().lstrip("*")] = " ".join(about.split())
    return docs


# ---- checking a value ----------------------------------------------------------------------------------------

_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,), "integer": (int,), "number": (int, float), "boolean": (bool,), "array": (list, tuple),
    "object": (Mapping,), "null": (type(None),),
}  # fmt: skip


def _fault(schema: Mapping[str, Any], value: Any, definitions: Mapping[str, Any]) -> str:
    """What is wrong with the value, to be read behind its name; empty when it fits."""
    if "$ref" in schema:
        schema = definitions[schema["$ref"].rsplit("/", 1)[-1]]
    if "anyOf" in schema:
        faults = [_fault(option, value, definitions) for option in schema["anyOf"]]
        if "" in faults:
            return ""
        return faults[0] if len(faults) == 1 else f"must be {_wanted(schema)}, not {_shown(value)}"
    if "enum" in schema:
        return (
            "" if value in schema["enum"] else f"must be {_wanted(schema)}, not {_shown(value)}{_near(value, schema)}"
        )
    sort = schema.get("type")
    if sort is None:
        return ""
    if not isinstance(value, _TYPES[sort]) or (isinstance(value, bool) and sort != "boolean"):
        return f"must be {_wanted(schema)}, not {_shown(value)}"
    return _bounds(schema, value) or _inner(schema, value, definitions)


_BOUNDS: dict[str, tuple[Callable[[Any, Any], bool], str]] = {
    "minimum": (operator.ge, "at least"),
    "maximum": (operator.le, "at most"),
    "exclusiveMinimum": (operator.gt, "more than"),
    "exclusiveMaximum": (operator.lt, "less than"),
}


def _bounds(schema: Mapping[str, Any], value: Any) -> str:
    for key, (holds, words) in _BOUNDS.items():
        if key in schema and not holds(value, schema[key]):
            return f"must be {words} {schema[key]}, not {value}"
    if "pattern" in schema and not re.search(schema["pattern"], value):
        return f"must match {schema['pattern']}, not {_shown(value)}"
    return ""


def _inner(schema: Mapping[str, Any], value: Any, definitions: Mapping[str, Any]) -> str:
    if schema["type"] == "array" and isinstance(schema.get("items"), dict):
        for index, item in enumerate(value):
            if fault := _fault(schema["items"], item, definitions):
                return f"item {index + 1} {fault}"
    if schema["type"] == "object":
        known = schema.get("properties", {})
        for name, item in value.items():
            rule = known.get(name, schema.get("additionalProperties", {}))
            if fault := _fault(rule, item, definitions) if isinstance(rule, dict) else "":
                return f"key {name!r} {fault}"
            if rule is False:
                return f"has an unknown key {name!r}; {nearest(str(name), known)}"
        for name in schema.get("required", ()):
            if name not in value:
                return f"lacks the key {name!r}"
    return ""


def _wanted(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return " or ".join(repr(choice) for choice in schema["enum"])
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_wanted(option) for option in schema["anyOf"]))
    return _WORDS.get(schema.get("type", ""), "a value")


def _shown(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 40 else f"{shown[:39]}…"


def _near(value: Any, schema: Mapping[str, Any]) -> str:
    choices = [choice for choice in schema["enum"] if isinstance(choice, str)]
    hint = nearest(value, choices) if isinstance(value, str) and choices else ""
    return f"; {hint}" if hint.startswith("did you") else ""
