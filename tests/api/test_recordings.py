"""Recordings: uploaded in parts that survive any break, and served to nobody but their project."""

from __future__ import annotations

import asyncio
import hashlib
import io
import wave
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from asgiref.sync import sync_to_async
from django.db import connections
from django.test import Client

from api.support import Api, api_for, body_of, person
from openomni.api.accounts.models import Project, Role, Scope
from openomni.api.records.models import Recording
from openomni.storage.api import Api as HttpApi
from openomni.storage.spool import Spool, new_recording, wav_header
from openomni.storage.storage import Storage
from openomni.storage.upload import Uploader

SOUND = bytes(range(256)) * 40


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def wav(seconds: float, rate: int = 16_000) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setparams((1, 2, rate, 0, "NONE", ""))
        sound.writeframes(bytes(2 * round(seconds * rate)))
    return file.getvalue()


@pytest.fixture
def device(project: Project) -> Api:
    return api_for(project, Scope.DEVICE, device="bedside", site="north")


@pytest.fixture
def recording(device: Api) -> str:
    """The id of one that was announced."""
    key = uuid4().hex
    device("PUT", f"/recordings/{key}", {"media_type": "audio/flac", "rate": 16000, "started_at": 1_740_000_000.0})
    return key


def upload(api: Api, key: str, data: bytes = SOUND) -> Any:
    api("PATCH", f"/recordings/{key}?offset=0", data)
    return api("POST", f"/recordings/{key}/complete", {"sha256": sha256(data), "size": len(data)})


# ---- up ------------------------------------------------------------------------------------------------------


def test_parts_arrive_one_after_another_and_are_sealed(device: Api, recording: str, settings: Any) -> None:
    assert device("PATCH", f"/recordings/{recording}?offset=0&samples=100", SOUND[:4000])["received"] == 4000
    answer = device("PATCH", f"/recordings/{recording}?offset=4000", SOUND[4000:])
    assert answer == {"received": len(SOUND), "complete": False}
    under_way = device("GET", f"/recordings/{recording}")
    assert (under_way["status"], under_way["received"], under_way["samples"]) == ("receiving", len(SOUND), 100)
    done = device("POST", f"/recordings/{recording}/complete", {"sha256": sha256(SOUND), "size": len(SOUND)})
    assert (done["status"], done["sha256"], done["device"], done["site"]) == (
        "complete",
        sha256(SOUND),
        "bedside",
        "north",
    )
    path = Path(settings.MEDIA_ROOT) / "home" / "2025" / "02" / f"{recording}.flac"
    assert path.read_bytes() == SOUND


def test_the_last_part_may_seal_it(device: Api, recording: str) -> None:
    device("PATCH", f"/recordings/{recording}?offset=0", SOUND[:4000])
    last = f"/recordings/{recording}?offset=4000&sha256={sha256(SOUND)}"
    assert device("PATCH", last, SOUND[4000:]) == {"received": len(SOUND), "complete": True}
    sealed = device("GET", f"/recordings/{recording}")
    assert (sealed["status"], sealed["sha256"]) == ("complete", sha256(SOUND))
    # Its answer was lost, and it comes again: it says that all is here, and completing it says so too.
    assert device("PATCH", last, SOUND[4000:], 409)["received"] == len(SOUND)
    device("POST", f"/recordings/{recording}/complete", {"sha256": sha256(SOUND), "size": len(SOUND)})


def test_a_last_part_with_another_checksum_drops_what_came(device: Api, recording: str) -> None:
    answer = device("PATCH", f"/recordings/{recording}?offset=0&sha256={'0' * 64}", SOUND, 422)
    assert answer["received"] == 0
    assert device("GET", f"/recordings/{recording}")["received"] == 0
    assert Recording.objects.get().received == 0
    assert device("PATCH", f"/recordings/{recording}?offset=0&sha256={sha256(SOUND)}", SOUND)["complete"]


def test_announcing_again_changes_nothing_and_tells_where_to_go_on(device: Api, recording: str) -> None:
    device("PATCH", f"/recordings/{recording}?offset=0", SOUND[:10])
    again = {"media_type": "audio/flac", "rate": 8000, "session_id": "s1"}
    answer = device("PUT", f"/recordings/{recording}", again)
    assert (answer["received"], answer["rate"], answer["session_id"]) == (10, 16000, "s1")
    assert Recording.objects.count() == 1


def test_a_part_at_another_offset_is_refused_with_the_one_to_go_on_from(device: Api, recording: str) -> None:
    device("PATCH", f"/recordings/{recording}?offset=0", SOUND[:10])
    for offset in (0, 5, 11):
        answer = device("PATCH", f"/recordings/{recording}?offset={offset}", b"x", expect=409)
        assert answer["received"] == 10


def test_other_bytes_than_promised_are_dropped_and_the_upload_starts_again(device: Api, recording: str) -> None:
    device("PATCH", f"/recordings/{recording}?offset=0", b"damaged")
    promise = {"sha256": sha256(b"genuine"), "size": 7}
    assert device("POST", f"/recordings/{recording}/complete", promise, 422)["received"] == 0
    assert device("GET", f"/recordings/{recording}")["received"] == 0
    assert upload(device, recording, b"genuine")["status"] == "complete"


def test_a_recording_that_lacks_bytes_is_not_complete(device: Api, recording: str) -> None:
    device("PATCH", f"/recordings/{recording}?offset=0", SOUND[:10])
    promise = {"sha256": sha256(SOUND), "size": len(SOUND)}
    assert device("POST", f"/recordings/{recording}/complete", promise, 409)["received"] == 10
    assert device("GET", f"/recordings/{recording}")["status"] == "receiving"


def test_completing_twice_is_fine_and_what_is_complete_stays(device: Api, recording: str) -> None:
    assert upload(device, recording) == device(
        "POST", f"/recordings/{recording}/complete", {"sha256": sha256(SOUND), "size": len(SOUND)}
    )
    device("PATCH", f"/recordings/{recording}?offset={len(SOUND)}", b"more", expect=409)
    device("POST", f"/recordings/{recording}/complete", {"sha256": sha256(b"else"), "size": 4}, 409)
    assert device("GET", f"/recordings/{recording}")["received"] == len(SOUND)


def test_a_wav_tells_its_own_length_also_while_it_grows(device: Api) -> None:
    key = uuid4().hex
    device("PUT", f"/recordings/{key}", {"media_type": "audio/wav"})
    data = wav_header(16_000) + bytes(3200)
    device("PATCH", f"/recordings/{key}?offset=0", data)
    assert device("GET", f"/recordings/{key}")["samples"] == 1600
    device("PATCH", f"/recordings/{key}?offset={len(data)}", bytes(3200))
    data += bytes(3200)
    done = device("POST", f"/recordings/{key}/complete", {"sha256": sha256(data), "size": len(data)})
    assert (done["samples"], done["rate"], done["seconds"]) == (3200, 16000, 0.2)


def test_a_full_disk_is_said_in_one_line_and_loses_nothing(
    device: Api, recording: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    device("PATCH", f"/recordings/{recording}?offset=0", SOUND[:10])
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    monkeypatch.setattr("openomni.api.media.rest.storage", lambda: _Small(before))
    line = device.error("PATCH", f"/recordings/{recording}?offset=10", SOUND, status=507)
    assert "no room left" in line
    monkeypatch.undo()
    assert device("PATCH", f"/recordings/{recording}?offset=10", SOUND[10:])["received"] == len(SOUND)


def test_what_is_refused_names_the_recording_and_neither_its_storage_key_nor_a_folder_of_the_server(
    device: Api, recording: str, settings: Any
) -> None:
    row = Recording.objects.get()
    path, promise = f"/recordings/{recording}", {"sha256": sha256(SOUND), "size": len(SOUND)}
    lines = [device.error("GET", f"{path}/content", status=404)]
    device("PATCH", f"{path}?offset=0", SOUND[:10])
    lines.append(device.error("PATCH", f"{path}?offset=5", b"x", status=409))
    lines.append(device.error("POST", f"{path}/complete", promise, status=409))
    lines.append(device.error("POST", f"{path}/complete", {"sha256": sha256(SOUND), "size": 10}, status=422))
    upload(device, recording)
    Recording.objects.update(status="receiving")  # as by a server that died before it said so
    lines.append(device.error("POST", f"{path}/complete", {"sha256": sha256(b"else"), "size": 4}, status=409))
    Recording.objects.update(key="home/x")
    (Path(settings.MEDIA_ROOT) / ".incoming/home/x.part").mkdir(parents=True)  # where its file would be
    lines.append(device.error("PATCH", f"{path}?offset=0", b"x", status=409))
    assert "the server's disk" in lines[-1]
    for line in lines:
        assert f"recording {recording}" in line
        assert row.place() not in line, line
        assert "home/" not in line, line
        assert str(settings.MEDIA_ROOT) not in line, line


class _Small(Storage):
    """A storage on a disk with room for 100 bytes a file, which the kernel sees to."""

    def __init__(self, before: tuple[int, int]) -> None:
        from openomni.api.media.store import storage

        super().__init__(storage().staging, storage().store)
        self.before = before

    def write(self, key: str, offset: int, data: bytes) -> int:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (100, self.before[1]))
        try:
            return super().write(key, offset, data)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, self.before)


def test_a_part_that_is_too_big_is_refused(device: Api, recording: str, settings: Any) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1000
    assert "16 MiB" in device.error("PATCH", f"/recordings/{recording}?offset=0", SOUND, status=413)


@pytest.mark.parametrize("key", ["..%2F..%2Fetc", "a.b", "a%00b", "x" * 65])
def test_an_id_that_could_lead_elsewhere_is_refused(device: Api, key: str) -> None:
    assert device.raw("PUT", f"/recordings/{key}", {}).status_code in (404, 422)
    assert not Recording.objects.exists()


@pytest.mark.parametrize("media_type", ["text/html", "image/svg+xml", "application/javascript", "audio/"])
def test_what_a_browser_could_run_is_not_taken(device: Api, media_type: str) -> None:
    assert "is not taken here" in device.error(
        "PUT", f"/recordings/{uuid4().hex}", {"media_type": media_type}, status=422
    )


def test_bytes_before_the_announcement_are_refused(device: Api) -> None:
    assert device.error("PATCH", "/recordings/abc?offset=0", b"x", status=404)


# ---- down ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ranged", "start", "stop"),
    [("", 0, 10240), ("bytes=0-99", 0, 100), ("bytes=10000-", 10000, 10240), ("bytes=-40", 10200, 10240)],
)
def test_content_is_served_whole_and_in_ranges(device: Api, recording: str, ranged: str, start: int, stop: int) -> None:
    upload(device, recording)
    response = device.raw("GET", f"/recordings/{recording}/content", **({"Range": ranged} if ranged else {}))
    assert body_of(response) == SOUND[start:stop]
    assert response.status_code == (206 if ranged else 200)
    assert response["Content-Length"] == str(stop - start)
    assert response.get("Content-Range") == (f"bytes {start}-{stop - 1}/10240" if ranged else None)
    assert (response["Content-Type"], response["Accept-Ranges"]) == ("audio/flac", "bytes")
    assert (response["X-Content-Type-Options"], response["Cache-Control"]) == ("nosniff", "private, no-cache")


def test_a_range_outside_is_refused_and_one_of_other_bytes_gets_all(device: Api, recording: str) -> None:
    upload(device, recording)
    outside = device.raw("GET", f"/recordings/{recording}/content", Range="bytes=10240-")
    assert (outside.status_code, outside["Content-Range"]) == (416, "bytes */10240")
    changed = device.raw("GET", f"/recordings/{recording}/content", Range="bytes=0-1", If_Range='"other"')
    assert (changed.status_code, changed["Content-Length"]) == (200, "10240")


def test_a_recording_under_way_is_served_as_far_as_it_came(device: Api, recording: str) -> None:
    assert device.error("GET", f"/recordings/{recording}/content", status=404)
    device("PATCH", f"/recordings/{recording}?offset=0", SOUND[:100])
    assert body_of(device.raw("GET", f"/recordings/{recording}/content")) == SOUND[:100]


def test_head_tells_the_size_only(device: Api, recording: str) -> None:
    upload(device, recording)
    response = device.raw("HEAD", f"/recordings/{recording}/content")
    assert (response.status_code, response["Content-Length"], response.content) == (200, "10240", b"")


def test_a_stranger_gets_nothing(device: Api, recording: str, stranger: Api, other_project: Project) -> None:
    upload(device, recording)
    for path in (f"/recordings/{recording}", f"/recordings/{recording}/content"):
        assert Api().raw("GET", path).status_code == 401
        assert stranger.raw("GET", path).status_code == 404
    assert stranger.raw("PATCH", f"/recordings/{recording}?offset=0", b"x").status_code == 404
    assert stranger("GET", "/recordings")["items"] == []
    stranger("PUT", f"/recordings/{recording}", {"media_type": "audio/flac"}, 409)
    outsider = Client()
    outsider.force_login(person("outsider", Role.OWNER, other_project))
    assert outsider.get(f"/api/v1/recordings/{recording}/content").status_code == 404
    assert outsider.get(f"/api/v1/recordings/{recording}/content?project=home").status_code == 404


def test_a_signed_in_member_plays_it(device: Api, recording: str, project: Project) -> None:
    upload(device, recording)
    member = Client()
    member.force_login(person("vera", Role.VIEWER, project))
    response = member.get(f"/api/v1/recordings/{recording}/content?project=home")
    assert body_of(response) == SOUND


def test_one_device_does_not_write_what_another_recorded(device: Api, recording: str, project: Project) -> None:
    other = api_for(project, Scope.DEVICE, device="hallway")
    assert "there is no recording" in other.error("PATCH", f"/recordings/{recording}?offset=0", b"x", status=404)


def test_recordings_are_listed_by_what_they_belong_to(device: Api, project: Project) -> None:
    for key, session in (("a", "s1"), ("b", "s2")):
        device("PUT", f"/recordings/{key}", {"session_id": session, "kind": "audio"})
    assert [each["recording_id"] for each in device("GET", "/recordings?session=s1")["items"]] == ["a"]
    assert len(device("GET", "/recordings?kind=audio")["items"]) == 2
    assert device("GET", "/recordings?status=complete")["items"] == []


# ---- with the client that devices use, over HTTP ---------------------------------------------------------------


@pytest.fixture
async def http(transactional_db: None, live_server: Any) -> AsyncIterator[HttpApi]:
    def token() -> str:
        return api_for(Project.objects.create(slug="home", name="Home"), Scope.DEVICE).token

    async with HttpApi(live_server.url, await sync_to_async(token)()) as api:
        yield api
    # The thread that Django's synchronous part ran in keeps its connection otherwise.
    await sync_to_async(connections.close_all)()


async def test_a_spooled_recording_is_uploaded_while_it_grows_and_comes_back_whole(
    http: HttpApi, tmp_path: Path
) -> None:
    spool = Spool(tmp_path / "spool", http.server, http.token)
    recording = spool.record(new_recording("audio", "audio/wav", rate=16_000, source="mic"), ".wav")
    data = wav_header(16_000) + bytes(500_000)
    async with Uploader(http) as uploader:
        uploader.add(recording)
        recording.append(data[:100_000])
        await asyncio.sleep(0)
        recording.append(data[100_000:])
        recording.end()
        assert await uploader.drain()
    assert list((tmp_path / "spool").iterdir()) == []
    assert (await http.get(f"/recordings/{recording.id}"))["status"] == "complete"
    assert (await http.download(recording.id, tmp_path / "back.wav")).read_bytes() == data


async def test_what_is_complete_but_was_not_acknowledged_is_acknowledged_again(http: HttpApi, tmp_path: Path) -> None:
    meta = new_recording("audio", "audio/wav")
    data = wav(0.1)
    await http.create(meta)
    await http.write(meta.recording_id, 0, data)
    await http.finish(meta.recording_id, sha256(data), len(data))
    file = tmp_path / "again.wav"
    file.write_bytes(data)
    left_behind = Spool(tmp_path / "spool", http.server, http.token).keep(file, meta)
    async with Uploader(http) as uploader:
        uploader.add(left_behind)
        assert await uploader.drain()
    assert list((tmp_path / "spool").iterdir()) == []


# ---- the gateway, for clients without a disk of their own ------------------------------------------------------


def test_the_gateway_uploads_for_a_project_whoever_the_client_was(gateway: Api, admin: Api, stranger: Api) -> None:
    headers = {"OpenOmni_Project": "home"}
    about = {"session_id": "talk", "device": "bedside", "site": "north", "media_type": "audio/wav", "rate": 16_000}
    sound = wav(0.5)
    gateway("PUT", "/recordings/tape", about, **headers)
    assert gateway("GET", "/recordings/tape", **headers)["received"] == 0
    gateway("PATCH", "/recordings/tape?offset=0", sound, **headers)
    gateway("POST", "/recordings/tape/complete", {"sha256": sha256(sound), "size": len(sound)}, **headers)
    done = admin("GET", "/recordings/tape")
    assert (done["status"], done["session_id"]) == ("complete", "talk")
    assert (done["device"], done["site"]) == ("bedside", "north")
    stranger.error("GET", "/recordings/tape", status=404)


def test_the_gateway_reads_no_media_and_needs_a_project(gateway: Api, project: Project) -> None:
    gateway.error("GET", "/recordings/tape/content", status=403, OpenOmni_Project="home")
    assert "OpenOmni-Project" in gateway.error("PUT", "/recordings/tape", {}, status=400)
    assert not Recording.objects.exists()
