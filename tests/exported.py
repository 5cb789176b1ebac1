"""What an export must show of a store, read from the files of the store."""

import json
import re

from mtlbench.harness.driver.deltas import deltas
from mtlbench.results.records import files
from mtlbench.results.records.reading import read


def expected(store, matrix):
    """Cell id -> (history: name -> [(step, value)], final values by name) of the finished cells."""
    gains, found = deltas(store, matrix), {}
    for cell_id, record in read(store.url, matrix).records.items():
        history = {}
        for line in store.get(files.history(cell_id)).decode().splitlines():
            row = json.loads(line)
            name = re.sub("^val/([^/]+)/", r"val/\1_", row["name"])
            history.setdefault(name, []).append((row["step"], row["value"]))
        finals = {f"test/{score.task}_{score.metric}": score.value for score in record.scores}
        finals |= {f"cost/{name}": value for name, value in record.cost.items()}
        found[cell_id] = history, finals | gains.get(cell_id, {})
    return found
