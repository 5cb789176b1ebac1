"""A Ray cluster of real nodes on this machine: each is a network namespace, whose host name leads to itself alone."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

# Each process that runs tests has a network and names of its own.
NETWORK = f"10.{100 + os.getpid() // 256 % 100}.{os.getpid() % 256}"
HEAD, PORT = f"{NETWORK}.1", 6379
OUTSIDE = f"{NETWORK}.254"  # of this machine itself, for servers that nodes are to reach
SPACE = f"mt{os.getpid() % 100000}"  # begins the names of namespaces and links, which have 15 characters at most
RAY = str(Path(sys.executable).with_name("ray"))

# A driver looks for the Ray of its machine among all processes that it sees. It sees those of the other nodes too, and
# would join one that cannot reach it. So it is shown those of its own node alone.
OWN_PROCESSES = """
import os
import psutil

def own(process):
    try:
        return os.readlink(f"/proc/{process.pid}/ns/net") == os.readlink("/proc/self/ns/net")
    except OSError:
        return False

every = psutil.process_iter
psutil.process_iter = lambda *arguments: filter(own, every(*arguments))
"""


def possible() -> bool:
    """Whether network namespaces can be made here."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        return False
    made = subprocess.run(["ip", "netns", "add", f"{SPACE}-p"], capture_output=True).returncode == 0
    subprocess.run(["ip", "netns", "del", f"{SPACE}-p"], capture_output=True)
    return made


def ip(*words):
    subprocess.run(["ip", *words], check=True, capture_output=True)


def _without(folder: Path | None) -> list[str]:
    """The words that run a command where a folder is an empty one."""
    if folder is None:
        return []
    return ["unshare", "--mount", "sh", "-c", f'mount -t tmpfs none {folder} && exec "$@"', "sh"]


class Nodes:
    """Namespaces on one bridge, with addresses NETWORK.1, NETWORK.2, ...; the first is the head."""

    def __init__(self, folder: Path, count: int) -> None:
        self.folder, self.count = folder, count
        self.processes: dict[int, subprocess.Popen] = {}
        self.token = folder / "token"
        self.token.write_text("a" * 64)
        self.environment = {**os.environ, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(self.token)}

    def __enter__(self):
        self._remove()
        ip("link", "add", f"{SPACE}-b", "type", "bridge")
        ip("link", "set", f"{SPACE}-b", "up")
        ip("addr", "add", f"{OUTSIDE}/24", "dev", f"{SPACE}-b")
        for node in range(1, self.count + 1):
            space = f"{SPACE}-{node}"
            ip("netns", "add", space)
            ip("link", "add", f"{SPACE}v{node}", "type", "veth", "peer", "name", "eth0", "netns", space)
            ip("link", "set", f"{SPACE}v{node}", "master", f"{SPACE}-b", "up")
            ip("-n", space, "addr", "add", f"{NETWORK}.{node}/24", "dev", "eth0")
            ip("-n", space, "link", "set", "eth0", "up")
            ip("-n", space, "link", "set", "lo", "up")
            names = Path("/etc/netns", space, "hosts")  # what `ip netns exec` shows in the place of /etc/hosts
            names.parent.mkdir(parents=True, exist_ok=True)
            names.write_text(f"127.0.0.1 localhost\n127.0.1.1 {socket.gethostname()}\n")
        return self

    def __exit__(self, *_):
        for node in list(self.processes):
            self.kill(node)
        self._remove()

    def _remove(self):
        for node in range(1, 9):
            subprocess.run(["ip", "netns", "del", f"{SPACE}-{node}"], capture_output=True)
            shutil.rmtree(Path("/etc/netns", f"{SPACE}-{node}"), ignore_errors=True)
        subprocess.run(["ip", "link", "del", f"{SPACE}-b"], capture_output=True)

    def start(self, node: int, hiding: Path | None = None, cpus: int = 1) -> None:
        """Start Ray on a node. hiding: a folder in whose place the node has an empty one of its own."""
        options = ["--head", "--port", str(PORT)] if node == 1 else ["--address", f"{HEAD}:{PORT}"]
        options += ["--node-ip-address", f"{NETWORK}.{node}", "--num-cpus", str(cpus), "--block"]
        scratch = Path("/tmp") / f"{SPACE}-{node}"
        scratch.mkdir(exist_ok=True)
        environment = {**self.environment, "RAY_TMPDIR": str(scratch), "RAY_worker_niceness": "0"}
        with (self.folder / f"node-{node}.log").open("ab") as log:
            self.processes[node] = subprocess.Popen(
                [*self.on(node), *_without(hiding), RAY, "start", *options],
                stdout=log, stderr=log, env=environment, cwd=self.folder, start_new_session=True,
            )  # fmt: skip

    def kill(self, node: int) -> None:
        """End everything that runs on a node, as a machine does that loses its power."""
        self._kill(node, lambda pid: True)
        self.processes.pop(node).wait()
        shutil.rmtree(Path("/tmp") / f"{SPACE}-{node}", ignore_errors=True)

    @staticmethod
    def part(node: int, other: int) -> None:
        """Let no packet through between two nodes, as a firewall does that answers."""
        for one, far in ((node, other), (other, node)):
            ip("-n", f"{SPACE}-{one}", "route", "add", "prohibit", f"{NETWORK}.{far}/32")

    def kill_raylet(self, node: int) -> None:
        """End the raylet of a node, and nothing else."""
        self._kill(node, lambda pid: Path(f"/proc/{pid}/comm").read_text() == "raylet\n")

    def restart(self, node: int) -> None:
        """Start Ray anew on a node whose raylet has died: all that it was started with ends by itself then."""
        self.processes[node].wait(60)
        self.start(node)

    @staticmethod
    def _kill(node: int, chosen: Callable[[int], bool]) -> None:
        found = subprocess.run(["ip", "netns", "pids", f"{SPACE}-{node}"], capture_output=True, text=True).stdout
        for pid in map(int, found.split()):
            with contextlib.suppress(ProcessLookupError, FileNotFoundError):
                if chosen(pid):
                    os.kill(pid, signal.SIGKILL)

    @staticmethod
    def on(node: int) -> tuple[str, ...]:
        """The words that run a command on a node."""
        return ("ip", "netns", "exec", f"{SPACE}-{node}")

    def ready(self, nodes: int, seconds: float = 120) -> None:
        """Wait until so many nodes have joined."""
        end = time.monotonic() + seconds
        probe = (
            f"import ray; ray.init('{HEAD}:{PORT}', log_to_driver=False); print(sum(n['Alive'] for n in ray.nodes()))"
        )
        while time.monotonic() < end:
            command = [*self.on(1), sys.executable, "-c", probe]
            done = subprocess.run(command, capture_output=True, text=True, env=self.environment)
            if done.stdout.strip() == str(nodes):
                return
            time.sleep(2)
        raise TimeoutError(f"{nodes} nodes did not join: {done.stdout} {done.stderr[-1000:]}")
