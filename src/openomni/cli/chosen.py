"""The pipeline that a command is given, by its name or as a file, and what this machine knows of its components."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..components import registry
from ..errors import WrongUsage, nearest
from ..pipeline import spec


def find(name: str) -> spec.Pipeline:
    """A file when it looks like one, else a built-in pipeline."""
    if is_file(name):
        return spec.load(name)
    known = spec.builtin()
    if name not in known:
        raise WrongUsage(f"unknown pipeline {name!r}; {nearest(name, known)} (or name a YAML file)")
    return known[name]


def is_file(name: str) -> bool:
    return Path(name).suffix in (".yaml", ".yml") or "/" in name or Path(name).is_file()


def local_schemas(pipeline: spec.Pipeline) -> dict[tuple[str, str], Mapping[str, Any]]:
    """Schemas of what is installed here, and of what the pipeline names by import path."""
    schemas: dict[tuple[str, str], Mapping[str, Any]] = {
        key: information.schema for key, information in registry.registered().items()
    }
    for kind, component in (*pipeline.needs, *pipeline.turn_taking.needs):
        if ":" in component:
            schemas[kind, component] = registry.find(kind, component).schema
    return schemas
