"""The other end of `child`: starts it, gives it orders, and says why it ended."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Self

from ....children import die_with_parent
from ....errors import OpenOmniError
from . import limits

_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
_ASKED_TO_END = (-signal.SIGTERM, -signal.SIGHUP, -signal.SIGINT)
"""By whoever ends the server and all of its processes at once; no file does that."""
COMMAND = (sys.executable, "-m", "openomni.api.media.derive.child")


class ReaderClosed(OpenOmniError):
    """The server stops; nothing is known about the file."""


class Reader:
    """A child that reads media files, one after the other, from its first order to `close`. After one that it did not
    survive there is another."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()
        self._closed = False

    def ask(self, kind: str, source: Path, **more: Any) -> dict[str, Any]:
        """Its answer; `{"failed": "why"}` where it gave none. Raises ReaderClosed once it is closed."""
        granted = limits.seconds(kind, source.stat().st_size)
        order = {"kind": kind, "source": str(source), "seconds": granted, **more}
        with self._lock:
            if self._closed:
                raise ReaderClosed("the server is stopping")
            process = self._process = self._process or _started()
        late = threading.Timer(granted * limits.WAITING, process.kill)
        late.daemon = True
        late.start()
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(json.dumps(order) + "\n")
                process.stdin.flush()
            line = process.stdout.readline()
        finally:
            late.cancel()
        if line.endswith("\n"):
            return dict(json.loads(line))
        self._end()
        if self._closed or process.returncode in _ASKED_TO_END:
            raise ReaderClosed("the server is stopping")
        return {"failed": _why(process.returncode, granted)}

    def close(self) -> None:
        """Ends it, whatever it does; from any thread."""
        with self._lock:
            self._closed = True
            if self._process is not None:
                self._process.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._end()

    def _end(self) -> None:
        with self._lock:
            process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()


def _started() -> subprocess.Popen[str]:
    return subprocess.Popen(
        COMMAND,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, encoding="utf-8",
        env={**os.environ, **_ONE_THREAD}, start_new_session=True, preexec_fn=die_with_parent(),
    )  # fmt: skip


def _why(code: int, granted: float) -> str:
    if code == -signal.SIGPROF:
        return f"it takes more than {granted:g} s of processor time"
    if code == -signal.SIGKILL:
        return "it takes more time or memory than is granted"
    return f"reading it ended the process that did (exit code {code})"
