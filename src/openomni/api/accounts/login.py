"""The login page, for people; whoever guesses passwords has to wait."""

from __future__ import annotations

import hashlib
from typing import Any

from django.core.cache import cache
from django.core.exceptions import ValidationError
from unfold.forms import AuthenticationForm

WRONG_AT_ONCE = 5
"""Wrong passwords of one name from one address before the next has to wait."""
WRONG_IN_ALL = 50
"""Wrong passwords of one name, from wherever."""
WAIT_S = 5 * 60


class LoginForm(AuthenticationForm):  # type: ignore[misc]
    """Counts wrong passwords in the cache: in one server process, or in all that share a cache."""

    def clean(self) -> dict[str, Any]:
        for key, most in self._keys().items():
            if cache.get(key, 0) >= most:
                raise ValidationError(
                    f"too many wrong passwords; try again in {WAIT_S // 60} minutes", code="too_many_attempts"
                )
        try:
            cleaned: dict[str, Any] = super().clean()
        except ValidationError:
            for key in self._keys():
                cache.add(key, 0, WAIT_S)
                cache.incr(key)
            raise
        cache.delete_many(self._keys())
        return cleaned

    def _keys(self) -> dict[str, int]:
        """Cache key → how many are too many."""
        name = str(self.cleaned_data.get("username", "")).lower()
        # The gateway says who its client is, and lets nobody else say it.
        forwarded = self.request.META.get("HTTP_X_FORWARDED_FOR", "").rpartition(",")[2].strip()
        address = forwarded or self.request.META.get("REMOTE_ADDR", "")
        return {_key(name, address): WRONG_AT_ONCE, _key(name): WRONG_IN_ALL}


def _key(*parts: str) -> str:
    return "login:" + hashlib.sha256("\0".join(parts).encode()).hexdigest()
