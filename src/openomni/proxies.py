"""The proxy that the shell's environment (`http_proxy`, `https_proxy`, `all_proxy`, `no_proxy`) wants for an address.

Every client of ours asks here, for the libraries differ: none keeps this machine's own addresses out by itself, some
know no SOCKS, and some break where they are made.
"""

from __future__ import annotations

import os
import re
from collections.abc import MutableMapping
from ipaddress import ip_address
from typing import TYPE_CHECKING, TypedDict
from urllib.parse import urlsplit

from .errors import OpenOmniError

if TYPE_CHECKING:
    from ssl import SSLContext

VARIABLES = ("http_proxy", "https_proxy", "all_proxy")
LOOPBACK = ("localhost", "127.0.0.1", "::1")


class HttpxSettings(TypedDict):
    proxy: str | None
    trust_env: bool
    verify: SSLContext


def proxy_for(url: str) -> str | None:
    """The address of the HTTP proxy for a URL (`http`, `https`, `ws`, `wss`); None to go there straight.

    This machine's own addresses are never asked for from elsewhere. Raises `OpenOmniError` for a proxy that we don't
    speak to, SOCKS.
    """
    from urllib.request import getproxies, proxy_bypass

    parts = urlsplit(url)
    host, place = parts.hostname or "", parts.netloc.rpartition("@")[2]
    if is_loopback(host) or proxy_bypass(place.replace("[", "").replace("]", "") if ":" in host else place):
        return None
    given = getproxies()
    kind = {"ws": "http", "wss": "https"}.get(parts.scheme, parts.scheme)
    variable = f"{kind if given.get(kind) else 'all'}_proxy"
    proxy = (given.get(kind) or given.get("all") or "").strip()
    if not proxy:
        return None
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    if not _spoken_to(proxy):
        raise OpenOmniError(
            f"{place} would be asked through {variable}, which names no HTTP proxy, and no other is spoken to (SOCKS, "
            f"for one); name one in {kind}_proxy, or put {host} into no_proxy"
        )
    return proxy


def is_loopback(host: str) -> bool:
    name = host.lower().rstrip(".")
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")


def httpx_settings(url: str) -> HttpxSettings:
    """For an httpx client of this address: `httpx.Client(…, **httpx_settings(url))`. Certificates stay as httpx has
    them, those of SSL_CERT_FILE included."""
    import httpx

    return {"proxy": proxy_for(url), "trust_env": False, "verify": httpx.create_ssl_context()}


def without(*hosts: str) -> dict[str, str]:
    """Variables that keep loopback and these hosts from the proxies of the environment; none where it names no proxy.

    For what we don't make ourselves: child processes, and the clients of other libraries.
    """
    if not any(value for name, value in os.environ.items() if name.lower() in VARIABLES):
        return {}
    known = [
        each.strip()
        for each in (os.environ.get("no_proxy") or os.environ.get("NO_PROXY", "")).split(",")
        if each.strip()
    ]
    added = [host for host in (*LOOPBACK, *hosts) if host and host not in known]
    value = ",".join([*known, *added])
    return {"no_proxy": value, "NO_PROXY": value}


def keep_loopback_direct(environment: MutableMapping[str, str] = os.environ) -> None:
    """Has this process's other libraries, and its children, go to this machine's own addresses straight."""
    environment.update(without())


def _spoken_to(proxy: str) -> bool:
    try:
        parts = urlsplit(proxy)
        known = parts.scheme in ("http", "https") and parts.port != 0
    except ValueError:
        return False
    return known and bool(re.fullmatch(r"[\w.:-]+", parts.hostname or "", re.ASCII))
