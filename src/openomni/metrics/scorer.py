"""The other end of `child`: starts it, asks it, ends it when it takes too long, and says why it ended."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Mapping
from typing import Any, Self

import msgspec

from ..children import die_with_parent
from ..errors import OpenOmniError, WrongUsage
from .registry import MetricInfo
from .results import Result, failed
from .runs import Run, RunTurn, SoundAwaited

CALL_S = 60.0
"""Seconds that one call of a metric may take."""
START_S = 60.0
"""Seconds until the process has started, and says what a metric is."""
READY_S = 900.0
"""Seconds until a metric has its model, which may have to be fetched first."""
COMMAND = (sys.executable, "-P", "-m", "openomni.metrics.child")
KEPT = frozenset((
    "OPENOMNI_MODELS", "OPENOMNI_CATALOGUE", "PATH", "HOME", "USER", "LANG", "LANGUAGE", "TZ", "TMPDIR", "VIRTUAL_ENV",
    "PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "SSL_CERT_FILE",
    "XDG_CACHE_HOME", "HF_HOME", "http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY",
))  # fmt: skip
"""The variables that a metric's process has; all others may hold secrets."""
ENDS_S = 5.0
"""Seconds in which a process that was ended is gone."""
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class ScorerClosed(OpenOmniError):
    """It was closed while it was asked; nothing is known of the metric."""


class Described(MetricInfo, frozen=True, kw_only=True):
    """A metric that was built: `version` has the fingerprint of its `parameters`, which hold what it pins."""

    parameters: dict[str, Any]


class Scorer:
    """A child that runs metrics, one call after the other, from the first to `close`. After one that it did not survive
    there is another."""

    def __init__(self, call_s: float = CALL_S, ready_s: float = READY_S) -> None:
        self._call_s, self._ready_s = call_s, ready_s
        self._process: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()
        self._closed = False
        self._warm: set[str] = set()
        self.late: Counter[str] = Counter()
        """By metric, how many calls in a row took too long."""

    def registered(self) -> tuple[list[MetricInfo], list[str]]:
        """All metrics that are found here, and what is wrong with packages that offer some."""
        answer = self._asked({"do": "list"}, START_S)
        return msgspec.convert(answer["metrics"], list[MetricInfo]), answer["problems"]

    def describe(self, metric: str, parameters: Mapping[str, Any] | None = None) -> Described:
        """Raises `WrongUsage` for a name or parameters that there are not, `OpenOmniError` where it can't be built."""
        answer = self._asked({"do": "describe", "metric": metric, "parameters": dict(parameters or {})}, START_S)
        return msgspec.convert(answer["described"], Described)

    def warm_up(self, metric: str, parameters: Mapping[str, Any] | None = None) -> None:
        """Has it load what it needs, once for each child. Raises as `describe`."""
        order = {"metric": metric, "parameters": dict(parameters or {})}
        if (name := json.dumps(order, sort_keys=True)) not in self._warm:
            self._asked({"do": "warm_up", **order}, self._ready_s)
            self._warm.add(name)

    def measure(
        self, metric: str, given: RunTurn | Run | tuple[Run, ...], parameters: Mapping[str, Any] | None = None,
        twice: bool = False,
    ) -> Result:  # fmt: skip
        """What comes of one call; a metric that raises, hangs or ends its process has failed, with the reason. `twice`:
        it is asked the same again, and has failed where that differs. Raises ScorerClosed, and SoundAwaited where it
        wants a sound that is on its way."""
        try:
            self.warm_up(metric, parameters)
            order = {"do": "measure", "metric": metric, "parameters": dict(parameters or {}), "twice": twice}
            answer = self._asked({**order, "given": msgspec.to_builtins(given)}, self._call_s * (1 + twice))
        except (ScorerClosed, SoundAwaited):
            raise
        except OpenOmniError as error:
            self.late[metric] = self.late[metric] + 1 if isinstance(error, Late) else 0
            return failed(str(error))
        self.late[metric] = 0
        return msgspec.convert(answer["result"], Result)

    def close(self) -> None:
        """Ends it, whatever it does; from any thread."""
        with self._lock:
            self._closed = True
            if self._process is not None:
                _kill(self._process)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._end()

    # ---- the process -----------------------------------------------------------------------------------------

    def _asked(self, order: dict[str, Any], seconds: float) -> dict[str, Any]:
        with self._lock:
            if self._closed:
                raise ScorerClosed("scoring was stopped")
            process = self._process = self._process or _started()
        late = threading.Event()

        def end() -> None:
            late.set()
            _kill(process)

        timer = threading.Timer(seconds, end)
        timer.daemon = True
        timer.start()
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(json.dumps(order) + "\n")
                process.stdin.flush()
            said = process.stdout.readline()
        finally:
            timer.cancel()
        if said.endswith("\n"):
            return _answer(json.loads(said))
        self._end()
        if self._closed or process.returncode in (-signal.SIGTERM, -signal.SIGHUP, -signal.SIGINT):
            raise ScorerClosed("scoring was stopped")
        if late.is_set():
            raise Late(f"took more than {seconds:g} s; it was ended")
        raise OpenOmniError(f"ended its process (exit code {process.returncode}), as where memory runs out")

    def _end(self) -> None:
        with self._lock:
            process, self._process = self._process, None
            self._warm.clear()
        if process is not None:
            _kill(process)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=ENDS_S)


class Late(OpenOmniError):
    """It took more time than is granted."""


def _answer(answer: dict[str, Any]) -> dict[str, Any]:
    if "awaited" in answer:
        raise SoundAwaited(answer["awaited"])
    if "failed" in answer:
        raise (WrongUsage if answer["usage"] else OpenOmniError)(answer["failed"])
    return answer


def _kill(process: subprocess.Popen[str]) -> None:
    """With whatever a metric started: its session is its own."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _started() -> subprocess.Popen[str]:
    ours = {name: value for name, value in os.environ.items() if name in KEPT or name.startswith("LC_")}
    return subprocess.Popen(
        COMMAND,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, encoding="utf-8",
        env={**ours, **_ONE_THREAD}, start_new_session=True, preexec_fn=die_with_parent(),
    )  # fmt: skip
