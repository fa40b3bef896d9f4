"""What a server knows, as pandas frames: turns, tasks, and an experiment's cells, scores and comparison.

    results = openomni.results.connect()  # OPENOMNI_SERVER, OPENOMNI_TOKEN
    turns = results.turns(pipeline="local")

Columns are those of the JSON of the REST interface; `_s` are seconds. What is asked for is read page by page. Every
error is an `OpenOmniError` of one line. It needs the extra `evaluation`, which brings pandas.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

import httpx
import msgspec

from . import installs, token_file
from .errors import OpenOmniError, WrongUsage
from .proxies import httpx_settings
from .records import StageRecord, TurnRecord
from .storage.api import Refused, address, headers, refusal, unreachable_line
from .token_file import TokenFile
from .version import too_old, upgrade_line

if TYPE_CHECKING:
    from pandas import DataFrame

PAGE = 500
"""Rows that are asked for at a time: as many as the server gives."""
MOST = 100_000
"""Rows of a frame, where nobody says how many."""
HERE = "http://127.0.0.1:8000"
TIMEOUT_S = 120.0
"""For one answer: a report over many turns takes seconds."""


def connect(server: str | None = None, token: str | None = None) -> Results:
    """What the server at an address knows, as the holder of a token with the scope `viewer` may see it.

    Args:
        server: Its address; else what `OPENOMNI_SERVER` says, else this machine's.
        token: Else what `OPENOMNI_TOKEN` says, or the file that `OPENOMNI_TOKEN_FILE` names.

    Raises:
        WrongUsage: there is no token, or the address is none.
    """
    told = TokenFile(token, os.environ.get("OPENOMNI_SERVER", "")) if token else _told()
    return Results(server or told.server or HERE, told.token)


class Results:
    """A connection to a server. It may be closed, or used in a `with`; else it goes when nobody holds it any more."""

    def __init__(self, server: str, token: str) -> None:
        self.server = address(server)
        settings = httpx_settings(self.server)
        self._http = httpx.Client(
            base_url=f"{self.server}/api/v1", headers=headers(token), timeout=TIMEOUT_S, **settings
        )

    def turns(self, *, limit: int | None = None, **wanted: str) -> DataFrame:
        """Turns, newest first, with their stages as in the JSON.

        Args:
            limit: The newest so many; None: all, `MOST` at most.
            wanted: `session`, `pipeline` (name or hash), `status`, `tag`.
        """
        return _frame(self._all("/turns", limit, wanted), _columns(TurnRecord))

    def tasks(self, *, limit: int | None = None, **wanted: str) -> DataFrame:
        """Tasks, one stage of one turn each, newest first.

        Args:
            limit: The newest so many; None: all, `MOST` at most.
            wanted: `turn`, `kind`, `component`, `agent`, `status`.
        """
        columns = [*_columns(StageRecord), "turn_id", "session_id"]
        return _frame(self._all("/tasks", limit, wanted), columns)

    def cells(self, experiment: str, *, limit: int | None = None, **wanted: str) -> DataFrame:
        """The cells of an experiment: one sample through one pipeline, once, each."""
        return _frame(self._all(f"/experiments/{_part(experiment)}/cells", limit, wanted))

    def scores(self, experiment: str, *, limit: int | None = None, **wanted: str) -> DataFrame:
        """The scores that stand of an experiment: what one rater says of one target under one metric, each. What could
        not be scored is a row, too, with its `outcome` and no value.

        Args:
            experiment: Its name.
            limit: So many; None: all, `MOST` at most.
            wanted: What the endpoint can be asked for, such as `metric`.
        """
        return _frame(self._all(f"/experiments/{_part(experiment)}/scores", limit, wanted))

    def comparison(self, experiment: str, **wanted: str) -> DataFrame:
        """The comparison of an experiment, a row for each metric and pipeline: `metric`, `version`, `unit`,
        `statistic`, `better`, `kind`, then what it says of the pipeline: `value`, `interval`, `difference`, `verdict`
        and so on. What it says of the whole (`baseline`, `axes`, `front`, …) is in the frame's `attrs`.
        """
        answer = self.get(f"/experiments/{_part(experiment)}/comparison", **wanted)
        rows = [
            {**{name: value for name, value in metric.items() if name != "pipelines"}, **pipeline}
            for metric in answer["metrics"]
            for pipeline in metric["pipelines"]
        ]
        frame = _frame(rows)
        frame.attrs.update({name: value for name, value in answer.items() if name != "metrics"})
        return frame

    def latency(self, **wanted: Any) -> DataFrame:
        """The latency report: a row for each figure of each stage, in seconds; counts of outcomes are in `attrs`.

        Args:
            wanted: As `openomni report latency` takes it: `pipeline`, `experiment`, `since` (RFC 3339), `session`,
                `participant`, `origin`, `late_after` (seconds), and lists for `include` and `by`.
        """
        answer = self.get("/reports/latency", **wanted)
        frame = _frame(answer["rows"])
        frame.attrs.update({name: value for name, value in answer.items() if name != "rows"})
        return frame

    def get(self, path: str, **query: Any) -> Any:
        """The JSON of one answer of the REST interface, `path` as below `/api/v1`. A list is sent as one value each.

        Raises:
            OpenOmniError: the server is away, or refuses; the line says why, with the mend.
        """
        try:
            answer = self._http.get(path, params={name: value for name, value in query.items() if value is not None})
        except httpx.TimeoutException:
            raise OpenOmniError(f"{self.server} took more than {TIMEOUT_S:.0f} s; ask for fewer rows") from None
        except httpx.HTTPError as error:
            raise OpenOmniError(unreachable_line(self.server, error)) from None
        version = answer.headers.get("openomni-version", "")
        if version and too_old(version):
            raise Refused(upgrade_line(version, f"the server at {self.server}", "openomni.results"), 426)
        if answer.status_code == 403:
            raise Refused(f"the token may not read this on {self.server}; use one with the scope `viewer`", 403)
        if answer.status_code >= 300:
            raise refusal(self.server, answer.status_code, answer.content)
        try:
            return msgspec.json.decode(answer.content)
        except msgspec.DecodeError:
            raise OpenOmniError(
                f"{self.server} gave no JSON; is this the address of an OpenOmni server?"
            ) from None  # fmt: skip

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _all(self, path: str, limit: int | None, wanted: Mapping[str, str]) -> list[dict[str, Any]]:
        """All items of a list, or the first `limit`. More than `MOST` are refused, unless a limit says that they are
        wanted: a frame that is cut off in silence looks like all there is."""
        if limit is not None and limit < 0:
            raise WrongUsage(f"limit is {limit}; give the number of rows, or leave it out for all of them")
        items: list[dict[str, Any]] = []
        cursor: str | None = None
        while limit is None or len(items) < limit:
            left = PAGE if limit is None else min(limit - len(items), PAGE)
            page = self.get(path, **wanted, limit=left, cursor=cursor)
            items += page["items"]
            cursor = page["next"]
            if not cursor:
                break
            if limit is None and len(items) >= MOST:
                raise OpenOmniError(f"there are more than {MOST:,} rows at {path}; ask for fewer, or say limit=…")
        return items[:limit]


def _frame(rows: list[dict[str, Any]], columns: Iterable[str] = ()) -> DataFrame:
    """`columns`: those that are there though no row is."""
    try:
        from pandas import DataFrame
    except ModuleNotFoundError:
        raise OpenOmniError(
            f"openomni.results needs pandas, which is not installed; {installs.line('evaluation')}"
        ) from None  # fmt: skip
    return DataFrame(rows) if rows else DataFrame(columns=list(columns))


def _columns(record: type[msgspec.Struct]) -> list[str]:
    return [each.encode_name for each in msgspec.structs.fields(record)]


def _part(name: str) -> str:
    if not name:
        raise WrongUsage("the name of the experiment is empty; give one that `openomni experiment list` shows")
    return quote(name, safe="")


def _told() -> TokenFile:
    """What the environment says of server and token."""
    server = os.environ.get("OPENOMNI_SERVER", "")
    if token := os.environ.get("OPENOMNI_TOKEN"):
        return TokenFile(token, server)
    if found := token_file.read():
        return TokenFile(found.token, server or found.server)
    raise WrongUsage(
        "there is no token; set OPENOMNI_TOKEN to one with the scope `viewer`, OPENOMNI_TOKEN_FILE to a file that "
        "holds it, or say connect(token=…)"
    )
