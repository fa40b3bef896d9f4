"""Media on a disk: appended in order, sealed by checksum, and never half-kept."""

from __future__ import annotations

import hashlib
import resource
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from openomni.storage import ChecksumMismatch, NotStored, OffsetMismatch, StorageError, StorageFull
from openomni.storage.volume import Volume

KEY = "ward-3/2025/03/abc.wav"


@pytest.fixture
def volume(tmp_path: Path) -> Volume:
    return Volume(tmp_path / "media")


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_parts_are_appended_sealed_and_read_back(volume: Volume) -> None:
    assert volume.size(KEY) == 0
    assert volume.write(KEY, 0, b"one ") == 4
    assert volume.write(KEY, 4, b"two") == 7
    volume.finish(KEY, sha256(b"one two"), 7)
    with volume.open(KEY) as file:
        assert file.read() == b"one two"
    assert (volume.root / KEY).read_bytes() == b"one two"
    assert [path.name for path in (volume.root / KEY).parent.iterdir()] == ["abc.wav"]


def test_what_is_not_finished_can_be_read(volume: Volume) -> None:
    volume.write(KEY, 0, b"so far")
    with volume.open(KEY) as file:
        assert file.read() == b"so far"
    assert not (volume.root / KEY).exists()


@pytest.mark.parametrize("offset", [0, 3, 5])
def test_a_part_elsewhere_is_refused_with_the_place_to_go_on_from(volume: Volume, offset: int) -> None:
    volume.write(KEY, 0, b"four")
    with pytest.raises(OffsetMismatch) as refusal:
        volume.write(KEY, offset, b"x")
    assert refusal.value.received == 4
    assert volume.size(KEY) == 4


def test_another_checksum_drops_the_bytes_so_that_the_upload_starts_again(volume: Volume) -> None:
    volume.write(KEY, 0, b"damaged")
    with pytest.raises(ChecksumMismatch, match="upload them again from 0"):
        volume.finish(KEY, sha256(b"genuine"), 7)
    assert volume.size(KEY) == 0
    volume.write(KEY, 0, b"genuine")
    volume.finish(KEY, sha256(b"genuine"), 7)


def test_sealing_before_all_bytes_came_says_how_many_are_here_and_keeps_them(volume: Volume) -> None:
    volume.write(KEY, 0, b"half")
    with pytest.raises(OffsetMismatch) as refusal:
        volume.finish(KEY, sha256(b"half and half"), 13)
    assert refusal.value.received == 4
    assert volume.size(KEY) == 4


def test_sealing_twice_changes_nothing_and_sealed_bytes_stay(volume: Volume) -> None:
    volume.write(KEY, 0, b"done")
    volume.finish(KEY, sha256(b"done"), 4)
    volume.finish(KEY, sha256(b"done"), 4)
    with pytest.raises(StorageError, match="sealed with other bytes"):
        volume.finish(KEY, sha256(b"else"), 4)
    with pytest.raises(OffsetMismatch):
        volume.write(KEY, 4, b"more")
    assert volume.write(KEY, 4, b"") == 4
    assert (volume.root / KEY).read_bytes() == b"done"


@pytest.fixture
def room_for_six_bytes() -> Iterator[Callable[[], None]]:
    """Makes the kernel refuse any file over 6 bytes; call what is given to lift it."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def lift() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)

    resource.setrlimit(resource.RLIMIT_FSIZE, (6, before[1]))
    yield lift
    lift()


def test_a_full_disk_keeps_what_was_acknowledged(volume: Volume, room_for_six_bytes: Callable[[], None]) -> None:
    volume.write(KEY, 0, b"kept")
    with pytest.raises(StorageFull, match="no room left"):
        volume.write(KEY, 4, b" lost")
    assert volume.size(KEY) == 4
    room_for_six_bytes()
    assert volume.write(KEY, 4, b" again") == 10
    volume.finish(KEY, sha256(b"kept again"), 10)


@pytest.mark.parametrize(
    "key", ["", "..", "../x", "a/../../x", "/etc/passwd", "a//b", "a/.hidden", "a\\b", "a/b.part", "a/b\0", "a/b\n"]
)
def test_a_key_never_leads_out_of_the_volume(volume: Volume, key: str) -> None:
    with pytest.raises(StorageError, match="no storage key"):
        volume.write(key, 0, b"x")
    with pytest.raises(StorageError, match="no storage key"):
        volume.open(key)


def test_what_is_not_there_is_said_so_and_deleting_it_is_fine(volume: Volume) -> None:
    with pytest.raises(NotStored):
        volume.open(KEY)
    volume.delete(KEY)
    volume.write(KEY, 0, b"x")
    volume.delete(KEY)
    assert volume.size(KEY) == 0


def test_of_parts_sent_at_once_for_one_place_one_is_kept(volume: Volume) -> None:
    def send(number: int) -> bool:
        try:
            volume.write(KEY, 0, bytes([number]) * 1000)
        except OffsetMismatch:
            return False
        return True

    with ThreadPoolExecutor(8) as threads:
        kept = list(threads.map(send, range(8)))
    assert sum(kept) == 1
    assert (volume.root / (KEY + ".part")).read_bytes() == bytes([kept.index(True)]) * 1000


def test_sealing_at_once_from_two_sides_seals_once(volume: Volume) -> None:
    volume.write(KEY, 0, b"done")
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: volume.finish(KEY, sha256(b"done"), 4), range(4)))
    assert [path.name for path in (volume.root / KEY).parent.iterdir()] == ["abc.wav"]
