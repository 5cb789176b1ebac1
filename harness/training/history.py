"""What is written of a training while it goes on: its history, and apart from it what it used of the machine."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress

import psutil
import torch

from mtlbench.harness.store.store import Store
from mtlbench.results.records import files

MEGABYTE = 1e6


class History:
    """Losses, learning rates and validation scores of a cell by step. Events after the step that training resumes from
    are dropped.

    file: where it lies. One with unreadable lines is set aside, and `warnings` says so; the curve has a gap then.
    """

    def __init__(
        self, store: Store, cell_id: str, step: int, *, writes: bool, file: Callable[[str], str] = files.history
    ) -> None:
        self.store, self.name, self.writes = store, file(cell_id), writes
        text = store.get(self.name) if writes and step and store.exists(self.name) else b""
        found = files.read_history(text)
        self.lines = [json.dumps(row) for row in found.rows if row["step"] <= step]
        self.warnings: list[str] = []
        if found.unreadable:
            aside = store.set_aside(self.name)
            self.warnings.append(
                f"history without {len(found.unreadable)} lines that cannot be read; the file is kept as {aside}"
            )

    def add(self, step: int, epoch: int, values: Mapping[str, float | None], **more: float) -> None:
        """Add values by name. The whole file is written again, because an object store cannot append.

        more: what else is written of each value.
        """
        at = {"step": step, "epoch": epoch}
        self.lines += [json.dumps({**at, "name": name, "value": value, **more}) for name, value in values.items()]
        if self.writes:
            self.store.put(self.name, "".join(line + "\n" for line in self.lines))


class Usage:
    """What the training of an epoch, from `start` to `add`, used of the machine.

    It has a file of its own, because a resumed training has the same history and another use, and it has the time in
    seconds since 1970, over which MLflow draws it. The names are those of MLflow's own system metrics, which its pages
    show together:

        system/images_per_second                of training, with the time that it waits for data
        system/cpu_utilization_percentage       the share of all cores that the process and its loaders took
        system/system_memory_usage_megabytes    what these processes hold; what they share counts once for each
        system/gpu_0_utilization_percentage     of the whole GPU in the last second, whoever uses it
        system/gpu_0_memory_usage_...           megabytes and percentage of the whole GPU, likewise

    Of several processes that train a cell, the first one measures itself and its own GPU.
    """

    def __init__(self, store: Store, cell_id: str, step: int, device: torch.device, *, writes: bool) -> None:
        self.events = History(store, cell_id, step, writes=writes, file=files.usage)
        self.device, self.process = device, psutil.Process()
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        self.start()

    def start(self) -> float:
        """Returns the time, as `time.perf_counter` does."""
        self.busy, self.began = self._busy(), time.perf_counter()
        return self.began

    def add(self, step: int, epoch: int, images: int) -> None:
        """images: how many were trained on since `start`. The device must have done its work."""
        if self.events.writes:
            self.events.add(step, epoch, dict(self._measured(images)), time=time.time())

    def _measured(self, images: int) -> Iterator[tuple[str, float]]:
        seconds, cores = time.perf_counter() - self.began, psutil.cpu_count() or 1
        yield "system/images_per_second", images / seconds
        yield "system/cpu_utilization_percentage", 100 * max(0.0, self._busy() - self.busy) / (seconds * cores)
        yield "system/system_memory_usage_megabytes", self._sum(lambda process: process.memory_info().rss) / MEGABYTE
        if self.device.type == "cuda":
            if (share := utilization(self.device)) is not None:
                yield "system/gpu_0_utilization_percentage", share
            free, whole = torch.cuda.mem_get_info(self.device)
            yield "system/gpu_0_memory_usage_megabytes", (whole - free) / MEGABYTE
            yield "system/gpu_0_memory_usage_percentage", 100 * (whole - free) / whole

    def _busy(self) -> float:
        """Seconds that cores worked for the process and all that it has started, those that have ended too."""
        return self._sum(lambda process: sum(process.cpu_times()[:4]))  # user, system, and both of ended children

    def _sum(self, of: Callable[[psutil.Process], float]) -> float:
        """Over the process and those that it has started."""
        found = 0.0
        for process in [self.process, *self.process.children(recursive=True)] if self.events.writes else []:
            with suppress(psutil.Error):  # it has just ended
                found += of(process)
        return found


def utilization(device: torch.device) -> float | None:
    """In percent; None where the driver does not tell, as in containers without NVML and for parts of a GPU."""
    try:
        return float(torch.cuda.utilization(device))
    except Exception:  # of three libraries; that something cannot be measured is no reason to stop
        return None
