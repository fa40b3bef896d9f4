"""Serves a file, or a range of it (RFC 9110), in pieces: a player seeks in an hour of sound without loading it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import BinaryIO

from asgiref.sync import sync_to_async
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse

from .errors import answer

PIECE = 256 * 1024
_RANGE = re.compile(r"bytes=(?:([0-9]{1,18})-([0-9]{0,18})|-([0-9]{1,18}))")


class ByteStretch:
    """`length` bytes of `file` from `start` on, in pieces; closes the file."""

    def __init__(self, file: BinaryIO, start: int, length: int) -> None:
        self._file, self._length = file, length
        file.seek(start)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        read = sync_to_async(self._file.read, thread_sensitive=False)
        left = self._length
        while left and (piece := await read(min(PIECE, left))):
            left -= len(piece)
            yield piece

    def close(self) -> None:
        self._file.close()


def deliver(request: HttpRequest, file: BinaryIO, media_type: str, name: str, version: str) -> HttpResponseBase:
    """The response for a GET or HEAD of these bytes; `version` is another one for others, empty while they change."""
    size = file.seek(0, 2)
    etag = f'"{version}"' if version else ""
    # If-Range: a range of the very bytes that the caller knows, or else all of them.
    ranged = request.headers.get("Range", "") if request.headers.get("If-Range", etag) == etag else ""
    bounds = _bounds(ranged, size)
    if bounds is None:
        file.close()
        refusal = answer(416, f"{ranged!r} lies outside of the {size} bytes that are here")
        refusal["Content-Range"] = f"bytes */{size}"
        return refusal
    start, stop = bounds
    response: HttpResponseBase
    if request.method == "HEAD":
        file.close()
        response = HttpResponse()
    else:
        response = StreamingHttpResponse(ByteStretch(file, start, stop - start))
    if _RANGE.fullmatch(ranged):
        response.status_code = 206
        response["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
    response["Content-Type"] = media_type
    response["Content-Length"] = str(stop - start)
    response["Accept-Ranges"] = "bytes"
    response["Cache-Control"] = "private, no-cache"
    response["Content-Disposition"] = f'inline; filename="{name}"'
    if etag:
        response["ETag"] = etag
    return response


def _bounds(ranged: str, size: int) -> tuple[int, int] | None:
    """First byte and the one past the last; all for no range or a form that we don't serve; None outside."""
    match = _RANGE.fullmatch(ranged)
    if not match:
        return 0, size
    first, last, tail = match.groups()
    start = max(size - int(tail), 0) if tail else int(first)
    stop = min(int(last) + 1, size) if last else size
    return (start, stop) if start < stop else None
