"""Whoever guesses has to wait: tries are counted in the database, so by all processes together and over a restart."""

from __future__ import annotations

import hashlib
import ipaddress
import math
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import F
from django.http import HttpRequest
from django.utils import timezone

from .models import Tries

WAIT = timedelta(minutes=5)
"""From the first of the tries that were too many; tries in vain while one waits make it no longer."""


class TooMany(Exception):
    """Enough was tried; nothing is looked at before `until`."""

    def __init__(self, until: datetime) -> None:
        self.seconds = max(1, math.ceil((until - timezone.now()).total_seconds()))
        minutes = math.ceil(self.seconds / 60)
        self.wait = f"{minutes} minutes" if minutes > 1 else "1 minute"
        super().__init__(f"try again in {self.wait}")


def take(limits: Mapping[str, int]) -> None:
    """Counts a try under each key, before anybody knows whether it is right, so that many at once are counted too.

    `limits`: key → how many tries it has. Raises `TooMany` when one has none left; then it counts under none, for
    whoever has to wait must not use up the tries of others.
    """
    most = {_digest(key): limit for key, limit in limits.items()}
    now = timezone.now()
    with transaction.atomic():
        Tries.objects.filter(until__lte=now).delete()
        for key in sorted(most):  # in one order, so that no two wait for each other
            Tries.objects.get_or_create(pk=key, defaults={"until": now + WAIT})
        rows = list(Tries.objects.select_for_update().filter(pk__in=most).order_by("pk"))
        spent = [row.until for row in rows if row.count >= most[row.pk]]
        if not spent:
            Tries.objects.filter(pk__in=most).update(count=F("count") + 1)
    if spent:
        raise TooMany(max(spent))


def forget(keys: Iterable[str]) -> None:
    """All tries under these keys: the right one came."""
    Tries.objects.filter(pk__in=map(_digest, keys)).delete()


def give_back(key: str) -> None:
    """One try, which was right. The others stay, for they were about something else."""
    Tries.objects.filter(pk=_digest(key), count__gt=0).update(count=F("count") - 1)


def address_of(request: HttpRequest) -> str:
    """Where a request comes from, as `proxy.TrustedProxy` found out; what a client says of itself does not count.

    Of an IPv6 address the network, for one machine has as many addresses in it as it likes.
    """
    text = str(request.META.get("REMOTE_ADDR", ""))
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return text
    if isinstance(address, ipaddress.IPv6Address):
        return str(address.ipv4_mapped or ipaddress.ip_network((address, 64), strict=False))
    return text


def _digest(key: str) -> str:
    # Of one length, and no list of who tried to sign in from where.
    return hashlib.sha256(key.encode()).hexdigest()
