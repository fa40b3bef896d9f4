"""Which components are known in a project, and what parameters each takes."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from ...components import registry
from .models import Offer


def schemas(project_id: str) -> dict[tuple[str, str], Mapping[str, Any]]:
    """(kind, component) → JSON Schema: as the project's agents registered it last, else as it is installed here."""
    known = dict(_installed())
    offers = Offer.objects.filter(project_id=project_id).order_by("agent__registered_at")
    known.update({(kind, name): schema for kind, name, schema in offers.values_list("kind", "name", "schema")})
    return known


@cache
def _installed() -> dict[tuple[str, str], Mapping[str, Any]]:
    return {key: info.schema for key, info in registry.registered().items()}
