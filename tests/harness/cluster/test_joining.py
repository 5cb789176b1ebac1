"""Ray is started or joined, or one line says why not, before anything else is done."""

import os
import socket
from pathlib import Path
from types import SimpleNamespace

import pytest
import ray
from ray.tune.execution.tune_controller import _get_max_pending_trials
from ray.tune.search import SearchGenerator

from cells import matrix_file
from command import invoke
from mtlbench.harness.cluster import joining, variables
from mtlbench.harness.cluster.schedule import Cells, OnRay
from mtlbench.harness.cluster.variables import LONGEST_SOCKET, SOCKET, ray_folder, use_token

TIMED_OUT = Exception(
    "The current node timed out during startup. This could happen because some of the raylet failed to startup or the "
    "GCS has become overloaded.\nA second line."
)


class Init:
    """Stands in for ray.init, fails the first `times`, and keeps what it was called with."""

    def __init__(self, monkeypatch, times, error=TIMED_OUT):
        self.times, self.error, self.calls, self.shut = times, error, [], 0
        monkeypatch.setattr(ray, "init", self)
        monkeypatch.setattr(ray, "is_initialized", lambda: False)
        monkeypatch.setattr(ray, "shutdown", self.shutdown)
        monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 2.0})
        monkeypatch.setattr(ray, "nodes", lambda: [{"Alive": True, "Resources": {"CPU": 2.0}}])

    def __call__(self, *arguments, **options):
        self.calls.append((arguments, options, dict(os.environ)))
        if len(self.calls) <= self.times:
            raise self.error

    def shutdown(self):
        self.shut += 1


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """What joining changes is changed back."""
    for name in joining.ENVIRONMENT:
        monkeypatch.setenv(name, joining.ENVIRONMENT[name])
    for name in ("RAY_TMPDIR", "TMPDIR"):
        monkeypatch.delenv(name, raising=False)


def test_a_ray_of_this_machine_that_does_not_come_up_is_tried_again(monkeypatch, caplog):
    init = Init(monkeypatch, times=1)
    assert joining.join(None).total == {"CPU": 2.0}
    assert len(init.calls) == 2 and init.shut == 1
    assert [record.getMessage() for record in caplog.records] == [
        f"Ray did not start ({str(TIMED_OUT).splitlines()[0]}); trying again"
    ]


@pytest.mark.parametrize("error", [TIMED_OUT, ValueError("bad"), OSError("no"), RuntimeError("Version mismatch\n3.11")])
def test_a_ray_that_never_comes_up_is_one_line(monkeypatch, error):
    init = Init(monkeypatch, times=9, error=error)
    with pytest.raises(ConnectionError) as raised:
        joining.join(None)
    assert str(raised.value) == f"Ray does not start on this machine: {str(error).splitlines()[0]}"
    assert len(init.calls) == joining.TRIES
    with pytest.raises(ConnectionError, match="no Ray cluster at auto: ") as raised:
        joining.join("auto")
    assert "\n" not in str(raised.value) and len(init.calls) == joining.TRIES + 1


def test_a_cluster_that_runs_here_by_chance_is_not_joined_unless_asked_for(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    init = Init(monkeypatch, times=0)
    joining.join(None)
    joining.join("auto")
    (first, *_), (second, *_) = init.calls
    assert first == ("local",) and second == ("auto",)


def test_a_ray_of_this_machine_hands_no_variables_of_launchers_and_compilers_to_its_processes(monkeypatch):
    exported = ("ACCELERATE_USE_FSDP", "RANK", "OMPI_COMM_WORLD_SIZE", "TORCHDYNAMO_DISABLE", "TORCH_COMPILE_DISABLE")
    for name in exported:
        monkeypatch.setenv(name, "1")
    init = Init(monkeypatch, times=0)
    joining.join(None)
    ((_, _, seen),) = init.calls
    assert not {*exported} & seen.keys()


@pytest.fixture
def cluster(monkeypatch):
    """The address of a cluster whose head answers."""
    monkeypatch.setattr(joining, "PATIENCE", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"127.0.0.1:{listening.getsockname()[1]}"


def test_a_machine_without_a_raylet_is_said_to_be_no_node_of_the_cluster(monkeypatch, cluster):
    init = Init(monkeypatch, times=0)
    monkeypatch.setattr(joining.services, "find_node_ids", set)
    with pytest.raises(ConnectionError) as raised:
        joining.join(cluster)
    assert init.calls == [] and str(raised.value) == (
        "no raylet has run on this machine for 0.2 s; make it a node of the cluster "
        f"(ray start --address={cluster}), and give the same command"
    )


def test_a_raylet_that_starts_in_time_is_waited_for(monkeypatch, cluster):
    init, answers = Init(monkeypatch, times=0), iter([set(), {"node"}])
    monkeypatch.setattr(joining.services, "find_node_ids", lambda: next(answers))
    joining.join(cluster)
    assert [arguments for arguments, *_ in init.calls] == [(cluster,)] and next(answers, None) is None


def test_the_cluster_of_this_machine_is_joined_again_where_it_was(monkeypatch):
    init = Init(monkeypatch, times=0)
    monkeypatch.setattr(ray, "get_runtime_context", lambda: SimpleNamespace(gcs_address="10.0.0.1:6379"))
    monkeypatch.setattr(joining, "_knock", lambda address: None)
    monkeypatch.setattr(joining.services, "find_node_ids", lambda: {"node"})
    scheduler = OnRay("auto")
    scheduler.join()
    scheduler.join()
    assert [arguments for arguments, *_ in init.calls] == [("auto",), ("10.0.0.1:6379",)]


def test_all_cells_wait_for_resources_at_once_and_run_as_any_process_does(monkeypatch):
    for name in ("TUNE_MAX_PENDING_TRIALS_PG", "RAY_worker_niceness"):
        monkeypatch.delenv(name, raising=False)
    init = Init(monkeypatch, times=0)
    joining.join(None)
    ((_, _, seen),) = init.calls
    assert seen["RAY_worker_niceness"] == "0"
    assert _get_max_pending_trials(SearchGenerator(Cells(lambda: [], None))) == 200
    monkeypatch.setenv("RAY_worker_niceness", "15")
    joining.join(None)
    assert init.calls[-1][2]["RAY_worker_niceness"] == "15"  # who sets it, wants it


def test_of_what_ray_prints_only_its_paragraphs_about_dead_processes_are_left_out(monkeypatch, capsys):
    printed = []
    monkeypatch.setattr(joining, "_print", lambda data, ignore_prefix: printed.append(data["pid"]))
    for pid in ("raylet", "autoscaler", 4711):
        joining.worker.print_to_stdstream({"lines": ["x"], "pid": pid, "is_err": False}, ignore_prefix=False)
    assert printed == ["autoscaler", 4711]


@pytest.mark.parametrize("where", ["RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "file", ""])
def test_a_cluster_is_joined_with_the_token_that_is_here(monkeypatch, tmp_path, where):
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.setenv(name, "")  # so that it is restored
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    file = tmp_path / (".ray/auth_token" if where == "file" else "token")
    file.parent.mkdir(exist_ok=True)
    file.write_text("a")
    if where.startswith("RAY"):
        monkeypatch.setenv(where, str(file) if where.endswith("PATH") else "a")
    use_token()
    assert os.environ.get("RAY_AUTH_MODE") == ("token" if where else None)
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    use_token()
    assert os.environ["RAY_AUTH_MODE"] == "disabled"


@pytest.mark.parametrize(("mode", "address", "warned"), [("", "auto", 1), ("token", "auto", 0), ("", None, 0)])
def test_a_cluster_that_asks_for_no_token_is_joined_with_a_warning(monkeypatch, caplog, mode, address, warned):
    Init(monkeypatch, times=0)
    monkeypatch.setenv("RAY_AUTH_MODE", mode)
    joining.join(address)
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == warned and all("at auto asks for no token" in line for line in said)


def test_a_wrong_token_is_one_line_that_says_where_the_right_one_belongs(monkeypatch):
    refused = ConnectionError("Failed to connect to Ray cluster at auto")
    refused.__cause__ = RuntimeError("Last connection error: Traceback\n RPC error: InvalidAuthToken: missing")
    Init(monkeypatch, times=9, error=refused)
    with pytest.raises(ConnectionError, match="the Ray cluster at auto refuses our token; give the token of its head"):
        joining.join("auto")


# ----------------------------------------------------------------------------------------------------------------------


def folder_of_length(tmp_path, length):
    """A folder that can be written to."""
    folder = tmp_path / "x"
    folder = folder.with_name("x" * (length - len(str(tmp_path)) - 1))
    folder.mkdir()
    assert len(str(folder)) == length
    return folder


@pytest.fixture
def base():
    """A short folder: that of pytest is long."""
    import tempfile

    with tempfile.TemporaryDirectory(dir="/tmp", prefix="s") as folder:
        yield Path(folder)


LONGEST = LONGEST_SOCKET - len(SOCKET) - len("/ray")


@pytest.mark.parametrize("variable", ["TMPDIR", "RAY_TMPDIR"])
def test_a_folder_that_is_too_long_for_sockets_is_replaced(monkeypatch, base, variable):
    monkeypatch.setenv(variable, str(folder_of_length(base, LONGEST)))
    assert ray_folder() is None  # Ray's own choice
    path = f"{os.environ[variable]}/ray{SOCKET}"
    assert len(path) == LONGEST_SOCKET
    with socket.socket(socket.AF_UNIX) as one, pytest.raises(FileNotFoundError):
        one.bind(path)  # not too long: only the folder is missing
    monkeypatch.setenv(variable, str(folder_of_length(base, LONGEST + 1)))
    assert ray_folder() in ("/tmp/ray", f"/tmp/ray-{os.getuid()}")
    with socket.socket(socket.AF_UNIX) as one, pytest.raises(OSError, match="too long"):
        one.bind(f"{os.environ[variable]}/ray{SOCKET}")


def test_a_path_is_measured_in_bytes(monkeypatch, base):
    folder = base / ("é" * (LONGEST - len(str(base)) - 5))
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    assert ray_folder() is not None


def test_the_variable_that_ray_reads_first_counts(monkeypatch, base):
    monkeypatch.setenv("TMPDIR", str(folder_of_length(base, 80)))
    monkeypatch.setenv("RAY_TMPDIR", str(base))
    assert ray_folder() is None


def test_a_folder_that_cannot_be_written_to_is_replaced(monkeypatch, base):
    (base / "file").write_text("")
    monkeypatch.setenv("TMPDIR", str(base / "file"))
    assert ray_folder() in ("/tmp/ray", f"/tmp/ray-{os.getuid()}")


def test_ray_is_started_in_the_short_folder(monkeypatch, base):
    monkeypatch.setenv("TMPDIR", str(folder_of_length(base, 80)))
    init = Init(monkeypatch, times=0)
    joining.join(None)
    ((_, options, _),) = init.calls
    assert options["_temp_dir"] == ray_folder() is not None


def test_where_no_folder_will_do_a_line_says_which_variable_to_set_before_anything_else(monkeypatch, base, tmp_path):
    monkeypatch.setenv("TMPDIR", str(folder_of_length(base, 80)))
    monkeypatch.setattr(variables, "_holds_sockets", lambda folder: False)
    done = invoke("run", matrix_file(tmp_path), "--store", tmp_path / "s")
    assert done.exit_code == 2
    assert f"TMPDIR={os.environ['TMPDIR']} is too long" in done.stderr and "set RAY_TMPDIR" in done.stderr
    assert f"at most {LONGEST} bytes" in done.stderr
    assert len(done.stderr.splitlines()) == 1 and not (tmp_path / "s").exists()
