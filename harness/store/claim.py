"""Claims: the files by which processes tell each other who drives a store.

Each process writes only the file of its own claim, so that no write overwrites the write of another process. Nothing
here needs a lock, a rename or a clock that two machines share.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict, dataclass, replace
from typing import Literal, NamedTuple

from mtlbench.harness.store.process import Process
from mtlbench.harness.store.store import Store, StoreError
from mtlbench.results.records import files


@dataclass(frozen=True)
class Claim:
    """A process drives a store, or wants to."""

    token: str  # random, one for each driver
    process: Process
    work: str  # what it does in the store, as "matrix rooms"
    store: str  # as the process calls it
    number: int = 1  # one more than the largest number that the process saw when it came
    holds: bool = False  # False while it only wants to drive
    beat: int = 0  # counts how often the claim was written
    buried: tuple[str, ...] = ()  # tokens of drivers whom it took for dead

    @property
    def rank(self) -> tuple[int, str]:
        """Of two claims, the one with the smaller rank wins. Whoever came first has the smaller number."""
        return self.number, self.token

    def next(self) -> Claim:
        return replace(self, beat=self.beat + 1)

    def to_json(self) -> str:
        return json.dumps(asdict(self)) + "\n"

    @property
    def owner(self) -> str:
        """As a sentence names the driver."""
        return f"process {self.process.pid} on {self.process.host}" + (f" ({self.work})" if self.work else "")


class Seen(NamedTuple):
    """A claim as it was read."""

    token: str
    content: bytes
    claim: Claim | None  # None where the content is no claim: garbage, or half-written


Verdict = Literal["alive", "dead", "unknown"]  # what a process makes of the claim of another one


def read(token: str, content: bytes) -> Seen:
    """The claim in a file. The name of the file has the token. Never raises: the claim is None for anything else."""
    try:
        fields = json.loads(content)
        process = Process(**fields.pop("process"))
        claim = Claim(process=process, **{**fields, "token": token, "buried": tuple(fields["buried"])})
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return Seen(token, content, None)
    kinds = {"number": int, "holds": bool, "beat": int, "work": str, "store": str}
    whole = all(isinstance(getattr(claim, name), kind) for name, kind in kinds.items())
    whole = whole and isinstance(process.pid, int) and 0 < process.pid < 2**31
    texts = (process.host, process.boot, process.namespace, process.started)
    whole = whole and all(isinstance(text, str) for text in texts)
    return Seen(token, content, claim if whole else None)


class Claims:
    """The claims of a store."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def path(self, token: str) -> str:
        return self.store.path(files.claim(token))

    def write(self, claim: Claim) -> None:
        """Raises StoreError where it cannot be written."""
        self.store.put(files.claim(claim.token), claim.to_json(), patience=0)

    def stands(self, token: str) -> bool:
        try:
            self.store.get(files.claim(token), patience=0)
        except FileNotFoundError:
            return False
        return True

    def remove(self, token: str) -> None:
        """Remove a claim if it can be done. A claim that stays does no harm: nobody writes it any more."""
        with contextlib.suppress(StoreError, OSError):
            self.store.remove(files.claim(token))

    def others(self, token: str) -> list[Seen]:
        """All claims but the one with this token."""
        # The folder is listed twice because some disks leave out a file that is replaced while they list its folder.
        names = {name for _ in range(2) for name in self.store.names(files.LEASE, "file", patience=0)}
        found = []
        for other in sorted(filter(None, map(files.claim_token, names))):
            if other == token:
                continue
            try:
                found.append(read(other, self.store.get(files.claim(other), patience=0)))
            except FileNotFoundError:
                continue  # removed in between
        return found

    def successor(self, claim: Claim) -> str | None:
        """Who has taken the store from a holder, by the claims that are there; None where nobody has."""
        for _, _, other in self.others(claim.token):
            if other is None or other.token in claim.buried:
                continue
            if claim.token in other.buried or (other.holds and other.rank < claim.rank):
                return other.owner
        return None
