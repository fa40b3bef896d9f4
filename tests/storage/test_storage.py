"""Media: appended in order, sealed by checksum, handed to the store, and never half-kept."""

from __future__ import annotations

import errno
import hashlib
import resource
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from openomni.storage import ChecksumMismatch, NotStored, OffsetMismatch, StorageError, StorageFull
from openomni.storage import staging as staging_module
from openomni.storage.staging import Staging
from openomni.storage.storage import Storage
from openomni.storage.volume import Volume

KEY = "ward-3/2025/03/abc.wav"


@pytest.fixture
def media(tmp_path: Path) -> Storage:
    return Storage(Staging(tmp_path / "incoming"), Volume(tmp_path / "media"))


def stored(media: Storage, key: str = KEY) -> Path:
    assert isinstance(media.store, Volume)
    return media.store.root / key


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_parts_are_appended_sealed_and_read_back(media: Storage) -> None:
    assert media.size(KEY) == 0
    assert media.write(KEY, 0, b"one ") == 4
    assert media.write(KEY, 4, b"two") == 7
    media.finish(KEY, sha256(b"one two"), 7)
    with media.open(KEY) as file:
        assert file.read() == b"one two"
    assert stored(media).read_bytes() == b"one two"
    assert names(stored(media).parent) == ["abc.wav"]
    assert names(media.staging.root) == []


def test_what_is_not_finished_can_be_read(media: Storage) -> None:
    media.write(KEY, 0, b"so far")
    with media.open(KEY) as file:
        assert file.read() == b"so far"
    assert not stored(media).exists()


@pytest.mark.parametrize("offset", [0, 3, 5])
def test_a_part_elsewhere_is_refused_with_the_place_to_go_on_from(media: Storage, offset: int) -> None:
    media.write(KEY, 0, b"four")
    with pytest.raises(OffsetMismatch) as refusal:
        media.write(KEY, offset, b"x")
    assert refusal.value.received == 4
    assert media.size(KEY) == 4


def test_another_checksum_drops_the_bytes_so_that_the_upload_starts_again(media: Storage) -> None:
    media.write(KEY, 0, b"damaged")
    with pytest.raises(ChecksumMismatch, match="upload them again from 0"):
        media.finish(KEY, sha256(b"genuine"), 7)
    assert media.size(KEY) == 0
    media.write(KEY, 0, b"genuine")
    media.finish(KEY, sha256(b"genuine"), 7)


def test_sealing_before_all_bytes_came_says_how_many_are_here_and_keeps_them(media: Storage) -> None:
    media.write(KEY, 0, b"half")
    with pytest.raises(OffsetMismatch) as refusal:
        media.finish(KEY, sha256(b"half and half"), 13)
    assert refusal.value.received == 4
    assert media.size(KEY) == 4


def test_sealing_twice_changes_nothing_and_sealed_bytes_stay(media: Storage) -> None:
    media.write(KEY, 0, b"done")
    media.finish(KEY, sha256(b"done"), 4)
    media.finish(KEY, sha256(b"done"), 4)
    with pytest.raises(StorageError, match="sealed with other bytes"):
        media.finish(KEY, sha256(b"else"), 4)
    with pytest.raises(OffsetMismatch):
        media.write(KEY, 4, b"more")
    assert media.write(KEY, 4, b"") == 4
    assert stored(media).read_bytes() == b"done"


@pytest.fixture
def room_for_six_bytes() -> Iterator[Callable[[], None]]:
    """Makes the kernel refuse any file over 6 bytes; call what is given to lift it."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def lift() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)

    resource.setrlimit(resource.RLIMIT_FSIZE, (6, before[1]))
    yield lift
    lift()


def test_a_full_disk_keeps_what_was_acknowledged(media: Storage, room_for_six_bytes: Callable[[], None]) -> None:
    media.write(KEY, 0, b"kept")
    with pytest.raises(StorageFull, match="no room left"):
        media.write(KEY, 4, b" lost")
    assert media.size(KEY) == 4
    room_for_six_bytes()
    assert media.write(KEY, 4, b" again") == 10
    media.finish(KEY, sha256(b"kept again"), 10)


@pytest.mark.parametrize(
    "key", ["", "..", "../x", "a/../../x", "/etc/passwd", "a//b", "a/.hidden", "a\\b", "a/b.part", "a/b\0", "a/b\n"]
)
def test_a_key_never_leads_out_of_the_volume(media: Storage, key: str) -> None:
    with pytest.raises(StorageError, match="no storage key"):
        media.write(key, 0, b"x")
    with pytest.raises(StorageError, match="no storage key"):
        media.open(key)


def test_what_is_not_there_is_said_so_and_deleting_it_is_fine(media: Storage) -> None:
    with pytest.raises(NotStored):
        media.open(KEY)
    media.delete(KEY)
    media.write(KEY, 0, b"x")
    media.delete(KEY)
    assert media.size(KEY) == 0


def test_of_parts_sent_at_once_for_one_place_one_is_kept(media: Storage) -> None:
    def send(number: int) -> bool:
        try:
            media.write(KEY, 0, bytes([number]) * 1000)
        except OffsetMismatch:
            return False
        return True

    with ThreadPoolExecutor(8) as threads:
        kept = list(threads.map(send, range(8)))
    assert sum(kept) == 1
    assert (media.staging.root / (KEY + ".part")).read_bytes() == bytes([kept.index(True)]) * 1000


def test_sealing_at_once_from_two_sides_seals_once(media: Storage) -> None:
    media.write(KEY, 0, b"done")
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: media.finish(KEY, sha256(b"done"), 4), range(4)))
    assert names(stored(media).parent) == ["abc.wav"]
    assert names(media.staging.root) == []


def test_sealing_what_was_handed_over_already_begins_no_new_file(media: Storage) -> None:
    media.write(KEY, 0, b"done")
    media.finish(KEY, sha256(b"done"), 4)
    assert media.staging.seal(KEY, sha256(b"done"), 4) is None
    assert names(media.staging.root) == []


def test_sealing_reads_nothing_of_what_came_through_this_process(
    media: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    monkeypatch.setattr(staging_module, "sha256_of_file", lambda file: read.append(file.name) or "")
    media.write(KEY, 0, b"one ")
    media.write(KEY, 4, b"two")
    media.finish(KEY, sha256(b"one two"), 7)
    assert read == []


def test_what_an_earlier_process_took_is_read_when_it_is_sealed(media: Storage) -> None:
    media.write(KEY, 0, b"one ")
    later = Storage(Staging(media.staging.root), media.store)
    later.write(KEY, 4, b"two")
    later.finish(KEY, sha256(b"one two"), 7)
    assert stored(media).read_bytes() == b"one two"


def test_a_part_of_another_process_between_ours_is_not_left_out_of_the_checksum(media: Storage) -> None:
    other = Storage(Staging(media.staging.root), media.store)
    media.write(KEY, 0, b"one ")
    other.write(KEY, 4, b"two ")
    media.write(KEY, 8, b"three")
    media.finish(KEY, sha256(b"one two three"), 13)
    assert stored(media).read_bytes() == b"one two three"


def test_what_was_sealed_and_not_handed_over_when_a_process_died_is_handed_over_next_time(media: Storage) -> None:
    media.write(KEY, 0, b"done")
    media.staging.seal(KEY, sha256(b"done"), 4)
    with media.open(KEY) as file:
        assert file.read() == b"done"
    media.finish(KEY, sha256(b"done"), 4)
    assert stored(media).read_bytes() == b"done"


def test_a_store_on_another_disk_has_the_whole_file_or_none(media: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    def across(self: Path, target: Path) -> None:
        if self.suffix == ".wav":
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        self.rename(target)

    monkeypatch.setattr(Path, "replace", across)
    file = media.staging.root / "sealed.wav"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"done")
    media.store.put(KEY, file)
    assert stored(media).read_bytes() == b"done"
    assert names(stored(media).parent) == ["abc.wav"]
    assert not file.exists()


@pytest.mark.parametrize(("start", "stop", "part"), [(0, 3, b"one"), (4, None, b"two"), (2, 5, b"e t"), (5, 5, b"")])
def test_a_range_of_what_is_stored(media: Storage, start: int, stop: int | None, part: bytes) -> None:
    media.write(KEY, 0, b"one two")
    media.finish(KEY, sha256(b"one two"), 7)
    with media.store.open(KEY, start, stop) as file:
        assert file.read() == part
