"""The OpenAPI form of our records: one definition, in `openomni.records`, serves the bus, the command line and REST."""

from __future__ import annotations

import functools
import types
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
from ninja import Schema
from pydantic import create_model


@functools.cache
def schema(struct: type[msgspec.Struct], name: str = "", **more: Any) -> type[Schema]:
    """A response schema with the fields of `struct`, under its name or another; `more` adds fields: name → type."""
    hints = get_type_hints(struct)
    fields: dict[str, Any] = {field.name: (_plain(hints[field.name]), ...) for field in msgspec.structs.fields(struct)}
    fields |= {key: (kind, ...) for key, kind in more.items()}
    tag, name_of_tag = struct.__struct_config__.tag, struct.__struct_config__.tag_field
    if name_of_tag:
        fields[name_of_tag] = Literal[tag]
    return create_model(name or struct.__name__, __base__=Schema, __doc__=struct.__doc__, **fields)


def _plain(hint: Any) -> Any:
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return schema(hint)
    origin, arguments = get_origin(hint), tuple(map(_plain, get_args(hint)))
    if origin in (Union, types.UnionType):
        return Union[arguments]  # noqa: UP007 (made of values)
    return origin[arguments] if origin in (list, dict, tuple) else hint
