"""Parts of the look that are more than a line of markup."""

from __future__ import annotations

import hashlib
import re
from typing import Any

from django import template
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

register = template.Library()


@register.inclusion_tag("look/command.html")
def command(text: str, does: str) -> dict[str, Any]:
    """`{% command "openomni up" "starts all parts" %}`: a command to copy. It breaks between its words only, where they
    fit: `--wait` never after its first hyphens."""
    return {"words": text.split(" "), "does": does, "id": f"command-{hashlib.sha256(text.encode()).hexdigest()[:8]}"}


@register.filter
def code(text: str) -> SafeString:
    """`{{ text|code }}`: what stands between backticks, as in a docstring, is set as code."""
    return mark_safe(re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text)))  # noqa: S308 (it was escaped)
