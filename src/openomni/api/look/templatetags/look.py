"""Parts of the look that are more than a line of markup."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime
from typing import Any

from django import template
from django.template.defaultfilters import date
from django.utils.formats import get_format
from django.utils.html import escape, format_html
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


@register.filter
def when(at: datetime, precision: str = "minutes") -> SafeString:
    """`{{ at|when }}` or `{{ at|when:"seconds" }}`: a moment in UTC, in the style of all pages, the admin's too. Its
    seconds are told to a pointer that rests on it."""
    at = at.astimezone(UTC)
    to_the_minute = get_format("DATETIME_FORMAT")
    to_the_second = f"{to_the_minute}:s"
    shown = to_the_second if precision == "seconds" else to_the_minute
    return format_html(
        '<time datetime="{}" title="{} UTC">{}</time>', date(at, "c"), date(at, to_the_second), date(at, shown)
    )


@register.filter
def percent(share: float) -> str:
    """`{{ share|percent }}`: a share of 1, in percent with one decimal."""
    return f"{100 * share:.1f} %"


@register.filter
def lasts(seconds: float) -> str:
    """`{{ seconds|lasts }}`: how long something is, in the unit that suits it."""
    if seconds >= 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 60:.1f} min" if seconds >= 60 else f"{seconds:.1f} s"
