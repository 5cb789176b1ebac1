"""A store has one driver: never two, and never none because of one that is dead."""

import json
import os
import shutil
import signal
import subprocess
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from drivers import QUICK, driver, driver_after
from mtlbench.harness.store import lease as lease_module
from mtlbench.harness.store import process
from mtlbench.harness.store.claim import Claim, Claims, read
from mtlbench.harness.store.lease import Lease, LeaseLost, Pace, StoreBusy, Watch, following
from mtlbench.harness.store.store import Store

TOKEN = "0" * 32
AT_ONCE = replace(QUICK, takeover=1e6)  # whoever watches another driver for the whole time never ends
SOON = replace(QUICK, takeover=0.3)


@pytest.fixture(params=["local", "memory"])
def store(request, tmp_path):
    if request.param == "local":
        return Store(tmp_path / "s")
    return Store(f"memory://{tmp_path.name}-{os.urandom(4).hex()}")


@pytest.fixture
def place(tmp_path):
    return Store(tmp_path / "s")


@pytest.fixture
def elsewhere(monkeypatch):
    """This process sees the other ones as if they ran on another machine."""
    monkeypatch.setattr(process, "boot", lambda: "boot of the machine of the test")


def of(name, **changes):
    """A process as a claim names it."""
    return replace(process.Process(name, 1, "a boot", "pid:[1]", "1"), **changes)


def leave_behind(store, owner, token=TOKEN, **fields):
    Claims(store).write(Claim(token, owner, "matrix m", store.url, holds=True, **fields))


def take(store, pace=QUICK):
    with Lease(store, pace=pace):
        pass


# alive ----------------------------------------------------------------------------------------------------------------


def test_a_second_driver_is_refused_while_the_first_is_alive_and_not_after_it_has_left(store):
    with Lease(store, "matrix m", pace=AT_ONCE):
        held = store.names("lease")
        with pytest.raises(StoreBusy, match=rf"driven by process {os.getpid()} on .* \(matrix m\)") as refused:
            take(Store(store.url), AT_ONCE)
        assert "\n" not in str(refused.value) and "give another --store" in str(refused.value)
        assert store.names("lease") == held
    assert store.names("lease") == []
    take(store, AT_ONCE)


def test_a_driver_on_this_machine_refuses_another_one_at_once(place):
    with driver(pace=replace(QUICK, beat=1e6)) as first:
        assert first.ask("take", place.root) == "done"
        with pytest.raises(StoreBusy, match=f"driven by process {first.pid}"):
            take(place, AT_ONCE)


@pytest.mark.parametrize("seconds", [-3600, -120, 120, 3600])
def test_a_live_driver_elsewhere_is_refused_whatever_its_clock_says(place, elsewhere, seconds):
    with driver(clock=seconds) as first:
        assert first.ask("take", place.root) == "done"
        (claim,) = place.names("lease")
        os.utime(place.path(f"lease/{claim}"), (time.time() + seconds, time.time() + seconds))
        with pytest.raises(StoreBusy, match=f"driven by process {first.pid}"):
            take(place)
        assert first.ask("put", "a") == "done"


def test_a_start_that_nobody_contests_only_settles(place, monkeypatch):
    slept = []
    monkeypatch.setattr(time, "sleep", slept.append)
    take(place, None)
    assert slept == [0.2]


# dead -----------------------------------------------------------------------------------------------------------------


def test_the_lease_of_a_killed_driver_on_this_machine_ends_with_it(place):
    with driver() as first:
        assert first.ask("take", place.root) == "done"
        first.process.kill()
        first.process.join()
        assert place.names("lease")
        take(place, AT_ONCE)
    assert place.names("lease") == []


def test_a_killed_driver_for_which_its_parent_has_not_waited_yet_is_dead(place):
    with subprocess.Popen(["sleep", "100"]) as child:
        stat = Path(f"/proc/{child.pid}/stat").read_text()
        owner = replace(process.this(), pid=child.pid, started=stat.rpartition(")")[2].split()[19])
        assert process.state(owner) == "runs"
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert process.state(owner) == "dead"


def test_a_process_with_the_pid_of_this_one_and_another_token_is_dead(store):
    leave_behind(store, process.this())
    take(store, AT_ONCE)
    leave_behind(store, replace(process.this(), started="1"))
    take(store, AT_ONCE)


@pytest.mark.parametrize("change", [{"boot": "an earlier boot"}, {"namespace": "pid:[1]"}, {"boot": ""}])
def test_a_container_that_was_started_again_with_its_name_and_pid_is_taken_over(store, change, caplog):
    leave_behind(store, replace(process.this(), **change))
    began = time.monotonic()
    take(store, SOON)
    assert time.monotonic() - began >= SOON.takeover
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2 and "\n" not in "".join(said)
    assert said[0].startswith(f"waiting 0 s to see whether the driver of {store.url}, process {os.getpid()} on ")
    assert said[1].endswith("taking the store over")


def test_a_dead_driver_whose_clock_ran_an_hour_ahead_is_taken_over(place):
    leave_behind(place, of("elsewhere"))
    ahead = time.time() + 3600
    os.utime(place.path(f"lease/{TOKEN}.json"), (ahead, ahead))
    take(place, SOON)


GARBAGE = [b"", b"{", b"{}", b"[]", b"3", b"\xff\xfe", b'{"process": 3}', b"[" * 100_000]


@pytest.mark.parametrize("content", GARBAGE)
def test_garbage_in_the_place_of_a_claim_is_named_in_one_line_and_taken_over(place, content, caplog):
    assert read(TOKEN, content).claim is None
    place.put(f"lease/{TOKEN}.json", content)
    place.put("lease/notes.txt", "of somebody else")
    take(place, SOON)
    assert place.path(f"lease/{TOKEN}.json") in caplog.records[0].getMessage()
    assert place.names("lease") == ["notes.txt"]


@pytest.mark.parametrize("field", [{"pid": -1}, {"pid": 2**40}, {"pid": "1"}, {"host": 3}, {"started": 1}])
def test_a_claim_of_no_process_is_garbage(field):
    claim = json.loads(Claim(TOKEN, of("host"), "m", "s").to_json())
    assert read(TOKEN, json.dumps(claim).encode()).claim is not None
    assert read(TOKEN, json.dumps({**claim, "process": {**claim["process"], **field}}).encode()).claim is None


def test_a_file_that_changes_is_written_by_somebody_alive_though_it_is_garbage(place):
    done = threading.Event()

    def write():
        while not done.wait(0.02):
            place.put(f"lease/{TOKEN}.json", os.urandom(8))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        with pytest.raises(StoreBusy, match=rf"lease/{TOKEN}\.json changes.*is not the claim of a driver") as refused:
            take(place)
    finally:
        done.set()
        writer.join()
    assert "\n" not in str(refused.value)


def test_time_in_which_the_watching_process_stood_still_does_not_count(place, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    watch = Watch(Claims(place), Pace())
    leave_behind(place, of("elsewhere"))
    seen = Claims(place).others("")
    assert watch.judge(seen) == ["unknown"]
    now[0] += 1000
    assert watch.judge(seen) == ["unknown"]
    for _ in range(50):
        now[0] += 1
        verdict = watch.judge(seen)
    assert verdict == ["dead"]


def test_a_copy_of_a_store_is_not_held_by_the_driver_of_the_original(place, tmp_path):
    with driver() as first:
        assert first.ask("take", place.root) == "done"
        shutil.copytree(place.root, tmp_path / "copy")
        take(Store(tmp_path / "copy"), SOON)
        assert first.ask("put", "a") == "done"


# two at once ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("boots", [("", ""), ("one", "two")], ids=["one machine", "two machines without locks"])
def test_of_two_drivers_that_start_together_exactly_one_wins(tmp_path, boots):
    locks = boots == ("", "")
    with driver(boot=boots[0], locks=locks) as one, driver(boot=boots[1], locks=locks) as two:
        for number in range(20):
            for each in (one, two):
                each.tell("take", tmp_path / str(number))
            answers = {one: one.answer(), two: two.answer()}
            (winner,) = (each for each, answer in answers.items() if answer == "done")
            (refused,) = (answer for answer in answers.values() if answer != "done")
            assert refused.startswith("StoreBusy: ") and f"driven by process {winner.pid} on " in refused
            assert winner.ask("leave") == "done"
            assert not list((tmp_path / str(number) / "lease").iterdir())


def test_two_drivers_that_both_wait_for_a_dead_one_do_not_both_get_the_store(place):
    leave_behind(place, of("elsewhere"))
    with driver(boot="one") as one, driver(boot="two") as two:
        for each in (one, two):
            each.tell("take", place.root)
        assert [one.answer(), two.answer()].count("done") == 1


# lost -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [{}, {"boot": "another", "locks": False}], ids=["here", "elsewhere"])
def test_a_driver_that_stood_still_and_was_taken_for_dead_writes_nothing_when_it_wakes(place, kind):
    with driver(**kind) as first:
        assert first.ask("take", place.root) == "done"
        assert first.ask("put", "before") == "done"
        first.tell("stop")
        first.tell("put", "after")
        while Path(f"/proc/{first.pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
            time.sleep(0.01)
        began = time.monotonic()
        with Lease(place, "matrix m", pace=QUICK):
            assert time.monotonic() - began >= QUICK.takeover
            os.kill(first.pid, signal.SIGCONT)
            said = first.answer()
            assert said.startswith(f"LeaseLost: lost the lease of {place.root} to process {os.getpid()} on ")
            assert "no sign of life for" in said
            place.put("mine", "by the new driver")
            time.sleep(3 * QUICK.beat)
            place.put("mine", "still")
            assert first.ask("put", "later") == said
        assert place.exists("before") and not place.exists("after") and not place.exists("later")


@pytest.fixture
def interruptible():
    """SIGINT interrupts this process, also where a script has started it in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_a_driver_that_writes_nothing_is_interrupted_when_it_has_lost_the_lease(store):
    began = time.monotonic()
    with pytest.raises(LeaseLost, match="was removed, by another driver that has ended or by hand"):  # noqa: SIM117
        with Lease(store, pace=QUICK) as lease:
            store.remove(f"lease/{lease.token}.json")
            time.sleep(30)
    assert time.monotonic() - began < 20


def test_a_claim_that_a_dead_driver_has_written_once_more_changes_nothing_for_the_new_one(place):
    leave_behind(place, of("elsewhere"))
    with Lease(place, pace=SOON) as lease:
        leave_behind(place, of("elsewhere"), beat=1)
        time.sleep(5 * QUICK.beat)
        place.put("a", "b")
        assert place.names("lease") == [f"{lease.token}.json"]


@pytest.mark.usefixtures("interruptible")
def test_of_two_drivers_that_both_hold_the_store_the_later_one_stops(place):
    with pytest.raises(LeaseLost, match=r"to process 1 on elsewhere \(matrix m\)"):  # noqa: SIM117
        with Lease(place, pace=QUICK):
            leave_behind(place, of("elsewhere"), number=0)
            time.sleep(30)


def test_every_store_object_of_the_process_asks_for_the_lease(place, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(lease_module, "_now", lambda: now[0])
    with pytest.raises(LeaseLost, match="lost the lease"), Lease(place, pace=replace(QUICK, beat=1e6)) as lease:
        place.remove(f"lease/{lease.token}.json")
        Store(place.root).put("a", "soon enough that nobody can have taken the store")
        now[0] += QUICK.takeover / 2 + 1
        for change in (Store(place.root).set_aside, place.remove, lambda name: place.put(name, "b")):
            with pytest.raises(LeaseLost):
                change("a")
        assert place.get("a").startswith(b"soon")
        Store(place.root + "2").put("a", "another store")
    place.put("a", "after the lease")


def test_what_works_for_a_driver_changes_nothing_once_the_driver_has_lost_the_lease(place, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(lease_module, "_now", lambda: now[0])
    leave_behind(place, of("elsewhere"))
    with following(place, TOKEN):
        place.put("a", "a")
        place.remove(f"lease/{TOKEN}.json")
        now[0] += Pace().beat + 1
        with pytest.raises(LeaseLost, match="has ended or has lost its lease"):
            place.put("a", "b")
    with pytest.raises(LeaseLost), following(place, TOKEN):
        place.put("a", "b")
    assert place.get("a") == b"a"
    with following(place, ""):
        place.put("a", "b")


# namespaces -----------------------------------------------------------------------------------------------------------

APART = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")


@pytest.fixture
def inside(tmp_path):
    """A driver in a namespace of process ids of its own, as in a container."""
    if shutil.which("unshare") is None or subprocess.run([*APART, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no namespace of process ids can be made here")
    with driver_after(APART, tmp_path) as found:
        assert found.pid == 1
        yield found


def test_a_driver_in_another_container_of_the_same_name_is_alive_until_its_claim_stands_still(place, inside):
    with driver() as outside:
        assert outside.ask("take", place.root) == "done"
        refused = inside.ask("take", place.root)
        assert refused.startswith("StoreBusy: ") and f"driven by process {outside.pid} on " in refused
        assert outside.ask("leave") == "done"
        assert inside.ask("take", place.root) == "done"
        refused = outside.ask("take", place.root)  # there is a process 1 here too, and it is another one
        assert refused.startswith("StoreBusy: ") and "driven by process 1 on " in refused
        inside.tell("die")
        assert outside.ask("take", place.root) == "done"
