"""The login page, for people; whoever guesses passwords has to wait."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from unfold.forms import AuthenticationForm

from . import throttle

TRIES = 5
"""Wrong passwords of one name from one address before the next has to wait."""
TRIES_OF_NAME = 50
"""Wrong passwords of one name, from wherever: more, for they keep out the person too."""
TRIES_OF_ADDRESS = 50
"""Wrong passwords from one address, of whichever names: a whole lab may be behind it."""


class LoginForm(AuthenticationForm):  # type: ignore[misc]
    """Looks at a password only while there are tries left."""

    def clean(self) -> dict[str, Any]:
        if not (self.cleaned_data.get("username") and self.cleaned_data.get("password")):
            return dict(super().clean())
        name, address = self.cleaned_data["username"].lower(), throttle.address_of(self.request)
        of_both, of_name, of_address = f"login {address} {name}", f"login of {name}", f"login from {address}"
        try:
            throttle.take({of_both: TRIES, of_name: TRIES_OF_NAME, of_address: TRIES_OF_ADDRESS})
        except throttle.TooMany as wait:
            raise ValidationError(f"too many wrong passwords; {wait}", code="too_many_tries") from None
        cleaned: dict[str, Any] = super().clean()
        throttle.forget((of_both, of_name))
        throttle.give_back(of_address)
        return cleaned
