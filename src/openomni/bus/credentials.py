"""Who may say what on the bus: an operator, its one account, and a short-lived JWT for every user.

NATS trusts an operator's key; the operator signs the account, the account signs users. A user makes its own key pair
and keeps the seed; it gets a JWT that lists the subjects it may publish and hear, and that expires. An agent's list
holds its project's subjects, its own inbox and its own calls, nothing else.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import os
import re
import time
from collections.abc import Mapping
from typing import Any, Literal, Self

import msgspec
import nkeys

from ..errors import WrongUsage
from . import subjects
from .envelope import LANES

Role = Literal["agent", "server"]

_PREFIXES = {
    "operator": nkeys.PREFIX_BYTE_OPERATOR,
    "account": nkeys.PREFIX_BYTE_ACCOUNT,
    "user": nkeys.PREFIX_BYTE_USER,
}
_PUBLIC_USER_KEY = re.compile(r"U[A-Z2-7]{55}")
_UNLIMITED = {"subs": -1, "data": -1, "payload": -1}
_ACCOUNT_LIMITS = {**_UNLIMITED, "imports": -1, "exports": -1, "wildcards": True, "conn": -1, "leaf": -1}
_STORAGE_LIMITS = {"mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1, "max_ack_pending": -1}


class Credentials(msgspec.Struct, frozen=True):
    """What the API gives a user: its JWT, until when it holds (Unix time), and the prefix of its inboxes."""

    jwt: str
    expires_at: float
    inbox_prefix: str


class Keys:
    """An Ed25519 key pair in NATS's form. The seed is the secret and stays where it was made."""

    def __init__(self, seed: str) -> None:
        self.seed = seed
        self._pair = nkeys.from_seed(seed.encode())
        self.public: str = self._pair.public_key.decode()

    @classmethod
    def create(cls, kind: Literal["operator", "account", "user"] = "user") -> Self:
        return cls(nkeys.encode_seed(os.urandom(32), _PREFIXES[kind]).decode())

    def sign(self, data: bytes) -> bytes:
        signature: bytes = self._pair.sign(data)
        return signature


class Authority:
    """The keys that make users: the operator's, its account's and that of NATS's own system account."""

    def __init__(self, seeds: Mapping[str, str]) -> None:
        self._operator, self._account, self._system = (Keys(seeds[name]) for name in ("operator", "account", "system"))

    @classmethod
    def create(cls) -> Self:
        kinds: dict[str, Literal["operator", "account"]] = {
            "operator": "operator", "account": "account", "system": "account",
        }  # fmt: skip
        return cls({name: Keys.create(kind).seed for name, kind in kinds.items()})

    @property
    def seeds(self) -> dict[str, str]:
        """To be kept in a file that nobody else can read; `Authority(seeds)` brings it back."""
        return {"operator": self._operator.seed, "account": self._account.seed, "system": self._system.seed}

    @property
    def account(self) -> str:
        return self._account.public

    @property
    def system_account(self) -> str:
        return self._system.public

    @property
    def operator_jwt(self) -> str:
        return _jwt(self._operator, self._operator.public, "openomni", {"type": "operator"})

    @property
    def account_jwts(self) -> dict[str, str]:
        """Public key → JWT of the accounts that a server must know."""
        limits = {self.account: {**_ACCOUNT_LIMITS, **_STORAGE_LIMITS}, self.system_account: _ACCOUNT_LIMITS}
        names = {self.account: "openomni", self.system_account: "system"}
        return {
            public: _jwt(self._operator, public, names[public], {"type": "account", "limits": limits[public]})
            for public in limits
        }

    def issue(
        self, role: Role, public_key: str, ttl: float, *, project: str = "", agent_id: str = "", name: str = ""
    ) -> Credentials:
        """A JWT for the user who holds the seed of `public_key`, valid for `ttl` seconds (inf: for ever).

        Role `agent` needs its `project` and `agent_id` and gets that project's subjects; role `server` (gateway and
        API) gets everything. Raises WrongUsage for a key, project or id that is malformed.
        """
        if not _PUBLIC_USER_KEY.fullmatch(public_key):
            raise WrongUsage(f"{public_key[:60]!r} is no public key of a bus user; send the `U…` key of a new key pair")
        if "*" in (project, agent_id):
            raise WrongUsage("credentials are for one project and one agent, not for `*`")
        if role == "agent":
            prefix = subjects.inbox_prefix(project, agent_id)
            allowed = _agent_permissions(project, agent_id)
        else:
            prefix = subjects.server_inbox_prefix(public_key[-16:].lower())
            allowed = {"pub": {"allow": [">"]}, "sub": {"allow": [">"]}}
        expires_at = time.time() + ttl
        claims = {"type": "user", **_UNLIMITED, **allowed}
        token = _jwt(self._account, public_key, name or agent_id or role, claims, expires_at)
        return Credentials(token, expires_at, prefix)


def _agent_permissions(project: str, agent_id: str) -> dict[str, Any]:
    consumers = [subjects.work_consumer(project, lane) for lane in LANES]
    return {
        "pub": {
            "allow": [
                subjects.here(project, agent_id),
                subjects.who(project),
                subjects.call(project, subjects.ANY),
                subjects.call_input(project, subjects.ANY),
                subjects.live(project, subjects.ANY, subjects.ANY, "out"),
                subjects.record(project),
                *(subjects.work_lane(project, lane) for lane in LANES),
                subjects.dead(project),
                subjects.claim(project, subjects.ANY),
                subjects.CLOCK,
                *(f"$JS.API.CONSUMER.MSG.NEXT.{subjects.WORK}.{consumer}" for consumer in consumers),
                f"$JS.API.DIRECT.GET.{subjects.LEASE_STREAM}.{subjects.lease_subject(project, subjects.ANY)}",
                subjects.lease_subject(project, subjects.ANY),
                *(f"$JS.ACK.{subjects.WORK}.{consumer}.>" for consumer in consumers),
                # Not NATS's «allow responses»: it lets whoever sends itself a request publish anywhere.
                *subjects.answers(project),
            ]
        },
        "sub": {
            "allow": [
                subjects.fleet(project),
                subjects.WHO,
                subjects.agent(project, agent_id),
                subjects.call_input(project, subjects.ANY),
                subjects.claim(project, subjects.ANY),
                subjects.live(project, subjects.ANY, subjects.ANY, "in"),
                f"{subjects.inbox_prefix(project, agent_id)}.>",
            ]
        },
    }


def _jwt(issuer: Keys, subject: str, name: str, claims: dict[str, Any], expires_at: float = math.inf) -> str:
    body: dict[str, Any] = {
        "iat": int(time.time()),
        "iss": issuer.public,
        "name": name,
        "nats": {**claims, "version": 2},
        "sub": subject,
    }
    if math.isfinite(expires_at):
        body["exp"] = int(expires_at)
    digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).digest()
    body["jti"] = base64.b32encode(digest).decode().rstrip("=")
    signed = f"{_part({'typ': 'JWT', 'alg': 'ed25519-nkey'})}.{_part(body)}"
    return f"{signed}.{_base64(issuer.sign(signed.encode()))}"


def _part(value: dict[str, Any]) -> str:
    return _base64(json.dumps(value, separators=(",", ":")).encode())


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
