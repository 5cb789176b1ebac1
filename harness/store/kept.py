"""What this machine keeps from one process to the next: made data, and answers that take long to find again."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable
from pathlib import Path

from mtlbench.harness.store.store import Store, StoreError

ANSWERS = "code.json"


def cache_folder() -> Path:
    """$MTLBENCH_CACHE, else ~/.cache/mtlbench."""
    return Path(os.environ.get("MTLBENCH_CACHE") or Path.home() / ".cache" / "mtlbench").absolute()


def remembered(question: str, state: str, find: Callable[[], str]) -> str:
    """What `find` returns, from `cache_folder` where the same question was answered before in the same state.

    question: what is asked, in a word. state: a hash of all that the answer depends on. Answers of another state are
    forgotten, so that nothing piles up. A folder that cannot be read or written costs time, and no answer.
    """
    known = _answers(state)
    if question in known:
        return known[question]
    answer = find()
    with contextlib.suppress(OSError, RuntimeError, StoreError):
        content = {"state": state, "answers": {**_answers(state), question: answer}}
        Store(cache_folder()).put(ANSWERS, json.dumps(content), patience=0)
    return answer


def known(question: str, state: str) -> str | None:
    """The answer that `remembered` would return without finding it; None where there is none."""
    return _answers(state).get(question)


def _answers(state: str) -> dict[str, str]:
    """question -> answer of this state; none where the file is missing, damaged or of another state."""
    try:
        content = json.loads((cache_folder() / ANSWERS).read_text())
        if content["state"] == state:
            return {question: answer for question, answer in content["answers"].items() if isinstance(answer, str)}
    except (OSError, RuntimeError, ValueError, LookupError, TypeError, AttributeError):
        pass
    return {}
