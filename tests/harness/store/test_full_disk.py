"""A full disk: a write waits for room for a while, then names the disk, and leaves no half-written file."""

import errno
import os
import time

import pytest

from mtlbench.harness.store import patience
from mtlbench.harness.store.lease import Lease
from mtlbench.harness.store.store import Store, StoreError


class Disk:
    """A disk that is full until `room_after` seconds have been slept; time passes only by sleeping."""

    def __init__(self, monkeypatch, room_after=float("inf"), number=errno.ENOSPC):
        self.now, self.room_after, self.number, self.tried = 0.0, room_after, number, 0
        self._fsync = os.fsync
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        monkeypatch.setattr(time, "sleep", self.sleep)
        monkeypatch.setattr(os, "fsync", self.fsync)

    def sleep(self, seconds):
        self.now += seconds

    def fsync(self, file):
        self.tried += 1
        if self.now < self.room_after:
            raise OSError(self.number, os.strerror(self.number))
        self._fsync(file)


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    """No test knows of the full disk of another."""
    monkeypatch.setattr(patience, "_trouble", {})
    monkeypatch.setattr(patience, "_waiting", set())


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "s")


def files_of(store):
    return [name for _, _, names in os.walk(store.root) for name in names]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_write_goes_on_when_there_is_room_within_a_minute(store, monkeypatch, number):
    disk = Disk(monkeypatch, room_after=50, number=number)
    store.put("a/file", "content")
    assert store.get("a/file") == b"content" and 50 <= disk.now < 52
    assert files_of(store) == ["file"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_disk_that_stays_full_is_named_in_one_line_and_nothing_half_written_is_left(store, monkeypatch, number):
    disk = Disk(monkeypatch, number=number)
    with pytest.raises(StoreError) as raised:
        store.put("a/file", "content")
    said = str(raised.value)
    mount = store.root
    while not os.path.ismount(mount):
        mount = os.path.dirname(mount)
    assert "\n" not in said
    assert f"{store.root}/a/file" in said and f"(disk {mount}: " in said and os.strerror(number) in said
    assert 59 < disk.now < 62
    assert files_of(store) == []


def test_many_writes_to_a_full_disk_wait_once_and_say_so_once(store, monkeypatch, caplog):
    disk = Disk(monkeypatch)
    with pytest.raises(StoreError):
        store.put("heartbeat", "content", patience=0)  # whoever does not wait does not speak of it
    assert not caplog.records
    for name in "abc":
        with pytest.raises(StoreError):
            store.put(name, "content")
    with pytest.raises(StoreError):
        Store(store.root).put("d", "content")  # another object for the same store
    assert 59 < disk.now < 62
    assert [record.getMessage() for record in caplog.records] == [
        f"the disk of {store.root} is full; waiting for room, at most 60 s"
    ]


def test_a_disk_that_had_room_again_is_waited_for_again(store, monkeypatch):
    disk = Disk(monkeypatch, room_after=10)
    store.put("a", "content")
    disk.now, disk.room_after = 1000, 1030
    store.put("b", "content")
    assert store.get("b") == b"content"


def test_small_files_that_fit_do_not_prolong_the_wait_of_a_large_one(store, monkeypatch):
    disk = Disk(monkeypatch)

    def sleep(seconds):
        disk.now += seconds
        patience._trouble.clear()  # as a heartbeat does that was written

    monkeypatch.setattr(time, "sleep", sleep)
    with pytest.raises(StoreError):
        store.put("a", "content")
    assert disk.now < 62


def test_a_write_waits_though_another_one_found_the_disk_full_long_ago_and_nobody_has_asked_since(store, monkeypatch):
    disk = Disk(monkeypatch)
    with pytest.raises(StoreError):
        store.put("pulse", "content", patience=0)
    disk.now, disk.room_after = 100, 130
    store.put("a", "content")
    assert store.get("a") == b"content"


@pytest.mark.parametrize("number", [errno.EROFS, errno.EIO, errno.EACCES])
def test_what_no_waiting_mends_is_said_at_once(store, monkeypatch, number):
    disk = Disk(monkeypatch, number=number)
    with pytest.raises(StoreError, match=os.strerror(number)):
        store.put("a", "content")
    assert disk.now == 0 and disk.tried == 1 and files_of(store) == []


def test_a_full_disk_refuses_a_run_at_once(store, monkeypatch):
    disk = Disk(monkeypatch)
    with pytest.raises(StoreError, match="disk /"):
        store.probe()
    with pytest.raises(StoreError, match="disk /"), Lease(store):
        pass
    assert disk.now == 0 and files_of(store) == []


def test_a_disk_without_room_for_more_files_says_so(store, monkeypatch):
    Disk(monkeypatch)
    found = os.statvfs_result((4096, 4096, 1000, 500, 500, 1000, 0, 0, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda path: found)
    with pytest.raises(StoreError, match="no more files fit on it"):
        store.put("a", "content")


def test_room_of_less_than_a_gigabyte_is_said_in_megabytes(store, monkeypatch):
    Disk(monkeypatch)
    found = os.statvfs_result((4096, 4096, 3_000_000, 400, 400, 1000, 500, 500, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda path: found)
    with pytest.raises(StoreError, match=r": 1\.6 MB of 12\.3 GB free\)"):
        store.put("a", "content")
    with pytest.raises(StoreError, match=r": 1\.6 MB of 12\.3 GB free; the file has 1\.7 MB\)"):
        store.put("a", bytes(1_700_000))


def test_a_full_disk_names_the_ways_out_once(tmp_path, monkeypatch):
    store = Store(tmp_path / "my runs")
    Disk(monkeypatch)
    ways = f"; make room, as with `mtlbench gc --store '{store.url}'`, or give another --store"
    for write in (store.probe, lambda: store.put("a", "content")):
        with pytest.raises(patience.DiskFull) as raised:
            write()
        assert str(raised.value).endswith(ways) and str(raised.value).count("another --store") == 1


def test_who_asks_is_told_that_a_process_waits_and_nobody_else_is(store, monkeypatch):
    told = []
    disk = Disk(monkeypatch, room_after=10)
    with patience.waits_told(told.append):
        store.put("a", "content")
    assert told == [f"the disk of {store.root} is full; waiting for room, at most 60 s"]
    disk.room_after = disk.now + 10
    store.put("a", "content")
    assert len(told) == 1


def test_an_interrupted_write_leaves_nothing_half_written(store, monkeypatch):
    def interrupt(file):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        store.put("a", "content")
    assert files_of(store) == []
