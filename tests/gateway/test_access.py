"""The gateway shakes hands with the API too."""

from __future__ import annotations

import httpx
import pytest

from openomni.gateway.access import Api, Away


@pytest.mark.parametrize(
    ("answer", "line"),
    [
        (httpx.Response(200, headers={"OpenOmni-Version": "0.1.0"}), "upgrade the API at http://api: "),
        (httpx.Response(426, json={"detail": "upgrade this gateway"}), "refuses this gateway: upgrade this gateway"),
    ],
)
async def test_whichever_side_is_too_old_is_told_in_a_line(answer: httpx.Response, line: str) -> None:
    api = Api("http://api", "secret")
    api._http = httpx.AsyncClient(transport=httpx.MockTransport(lambda request: answer), base_url="http://api")
    with pytest.raises(Away, match=line):
        await api.access("token")
    await api.close()
