"""One file over HTTP: with progress, and taken up again where a break left it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from ..lazy import Lazy
from ..proxies import proxy_for
from .catalogue import ModelError

if TYPE_CHECKING:
    import httpx
else:
    httpx = Lazy("httpx")

ATTEMPTS = 4
"""Breaks without a byte of progress in between before a download is given up."""
Report = Callable[[int, int], None]
"""Called with the bytes held and the bytes expected (0 while that is unknown)."""


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file somewhere else: its address and what it takes to be let in."""

    url: str
    headers: dict[str, str] = field(default_factory=dict)
    certificates: str | None = None
    proxy: str | None = None


class _Broken(Exception):
    """The connection broke off; what has come so far is good."""


def download(remote: RemoteFile, target: Path, report: Report, pause: float = 0.5) -> None:
    """Fetches the file to `target`, from where an earlier, broken try left it.

    A break is followed by another try after `pause` seconds, twice as long each time. Raises `ModelError` when it
    stays broken; what has come is kept, so that the next call goes on from there. OSError as the disk gives it.
    """
    if remote.url.startswith("file:"):
        _copy(Path(unquote(urlsplit(remote.url).path)), target, report)
        return
    fruitless = 0
    with _client(remote) as client:
        while True:
            held = _held(target)
            try:
                _go_on(client, remote.url, target, report)
                return
            except _Broken as broken:
                fruitless = 0 if _held(target) > held else fruitless + 1
                if fruitless == ATTEMPTS:
                    raise ModelError(f"{broken}; what has come is kept, try again") from None
                time.sleep(pause * 2 ** max(fruitless - 1, 0))


def _client(remote: RemoteFile) -> httpx.Client:
    import ssl

    trust = ssl.create_default_context(cafile=remote.certificates)
    if remote.certificates is None:
        import certifi

        trust.load_verify_locations(certifi.where())
    return httpx.Client(
        headers=remote.headers, verify=trust, proxy=remote.proxy or proxy_for(remote.url), trust_env=False,
        follow_redirects=True, timeout=httpx.Timeout(30.0),
    )  # fmt: skip


def _held(target: Path) -> int:
    return target.stat().st_size if target.exists() else 0


def _go_on(client: httpx.Client, url: str, target: Path, report: Report) -> None:
    held = _held(target)
    # Compression would make a range mean something else.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={held}-"} if held else {})
    try:
        with client.stream("GET", url, headers=headers) as answer:
            if answer.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
                _settle_range(answer, target)
                return
            if answer.status_code >= 500:
                raise _Broken(f"the server answers {answer.status_code}")
            if answer.is_error:
                raise ModelError(f"the server answers {answer.status_code} {answer.reason_phrase}")
            goes_on = answer.status_code == httpx.codes.PARTIAL_CONTENT
            _write(answer, target, held if goes_on else 0, report)
    except httpx.HTTPError as error:
        raise _Broken(f"{urlsplit(url).netloc}: {str(error) or type(error).__name__}") from None


def _settle_range(answer: httpx.Response, target: Path) -> None:
    """Nothing is left to send: all is here already, unless what is here is something else."""
    expected = answer.headers.get("Content-Range", "").rpartition("/")[2]
    if expected != str(_held(target)):
        target.unlink()
        raise _Broken("the server's file has changed")


def _write(answer: httpx.Response, target: Path, held: int, report: Report) -> None:
    left = int(answer.headers.get("Content-Length", 0))
    total = held + left if left else 0
    with target.open("ab" if held else "wb") as out:
        report(held, total)
        for chunk in answer.iter_raw():  # of a size of its own, it would hold the last bytes back from us in a break
            out.write(chunk)
            held += len(chunk)
            report(held, total)
    if held < total:
        raise _Broken("the connection broke off")


def _copy(origin: Path, target: Path, report: Report) -> None:
    try:
        size = origin.stat().st_size
        with origin.open("rb") as packed, target.open("wb") as out:
            shutil.copyfileobj(packed, out, 1 << 20)
    except FileNotFoundError:
        raise ModelError(f"there is no file {origin}") from None
    report(size, size)
