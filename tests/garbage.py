"""A hypothesis strategy: a document of JSON with something wrong in it. And cases that are others in each run.

MTLBENCH_GARBAGE_SEED repeats the cases of a run. A test that fails names it. MTLBENCH_GARBAGE_TIMES draws more cases.
"""

import os
import random
from copy import deepcopy
from functools import wraps

from hypothesis import HealthCheck, given, note, seed, settings
from hypothesis import strategies as st

SEED = int(os.environ.get("MTLBENCH_GARBAGE_SEED") or random.SystemRandom().randrange(10**6))
TIMES = int(os.environ.get("MTLBENCH_GARBAGE_TIMES") or 1)  # as many cases; `make drills` draws four times as many


def cases(strategy, number):
    """A decorator for a slow test, whose last argument is drawn so many times, times TIMES."""

    def decorate(test):
        @wraps(test)
        def said(*args, **kwargs):
            note(f"MTLBENCH_GARBAGE_SEED={SEED} draws the same cases")
            return test(*args, **kwargs)

        many = settings(
            max_examples=number * TIMES, deadline=None, database=None, suppress_health_check=list(HealthCheck)
        )
        return seed(SEED)(many(given(strategy)(said)))

    return decorate


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([float("nan"), float("inf"), "", "../../evil", "/abs", ".", "rooms", "pad_net", "1e400", "\ud800"]),
    st.text(max_size=8),
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
)


def places(node, path=()):
    """The path of every part of a document."""
    yield path
    for key, child in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        yield from places(child, (*path, key))


@st.composite
def changed(draw, document):
    """The document after one to three changes, or something else altogether."""
    if draw(st.integers(0, 30)) == 0:
        return draw(VALUES)
    found = deepcopy(document)
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from([path for path in places(found) if path]))
        node = found
        for key in path[:-1]:
            node = node[key]
        match draw(st.sampled_from(["replace", "remove", "repeat", "add"])):
            case "replace":
                node[path[-1]] = draw(VALUES)
            case "remove":
                del node[path[-1]]
            case "repeat" if isinstance(node, list):
                node.append(deepcopy(node[path[-1]]))
            case _ if isinstance(node, dict):
                node[draw(st.text(max_size=8))] = draw(VALUES)
        if not [path for path in places(found) if path]:
            break
    return found
