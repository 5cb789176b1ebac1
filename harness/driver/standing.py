"""How far the cells of a store are: the command `mtlbench status`. What is in a manifest is told without torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import yaml

from mtlbench.harness.matrix.cell import EXPANSION, NO_FILE, SCHEMA
from mtlbench.harness.matrix.text.names import names_a_module
from mtlbench.harness.matrix.text.written import Written, as_yaml
from mtlbench.harness.store import source
from mtlbench.harness.store.kept import known, remembered
from mtlbench.harness.store.store import Store, state_of
from mtlbench.results.records import files
from mtlbench.results.records.record import CorruptRecord, Manifest, NewerRecord, Record

Folders = Mapping[str, Collection[str]]  # cell id -> the names in its folder, as Store.folders returns them
IDS_SAID = 6  # of the cells, where a word fits none of them
Look = Callable[[Sequence[str]], Mapping[str, Record]]  # cell ids -> the records among them


class Row(NamedTuple):
    """A cell."""

    id: str
    cell: str  # its title
    state: str  # a State of the store, stale, or corrupt
    error: str | None
    progress: str = ""  # how far the training of a started cell came, as "epoch 3/10"


class Standing(NamedTuple):
    """The cells of a matrix."""

    rows: list[Row]
    waiting: list[str]  # a line for everything that waits for a record, or will never be trained
    unreadable: dict[str, str]  # cell id -> why its record cannot be read


class Expected(NamedTuple):
    """A cell that a matrix has."""

    id: str
    title: str
    starts: tuple[str, ...]  # ids of the cells that it starts from


def standing(
    store: Store, written: Written, check: Callable[[], Standing], expanded: Callable[[], Manifest]
) -> Standing:
    """How far the cells of a matrix are.

    Which cells it has is in the store where a run of it has begun, and in the cache of this machine where somebody has
    asked before. expanded: makes them from the matrix, for the cache. check: makes all of it from the matrix, where the
    cells depend on records or on code from outside.
    """
    made_from = digest(written)
    cells = _in_store(store, written, made_from) or (_remembered(made_from, expanded) if made_from else [])
    if not cells:
        return check()
    unreadable: dict[str, str] = {}
    folders = store.folders()
    titles = {cell.id: cell.title for cell in cells}
    records = recorded(store, unreadable, folders)(list(titles))
    stale = {cell_id for cell_id, record in records.items() if made_otherwise(record)}
    found = rows(store, folders, titles, stale, unreadable)
    return Standing(found, blocked(found, {cell.id: cell.starts for cell in cells}), unreadable)


def blocked(found: Sequence[Row], starts: Mapping[str, Sequence[str]]) -> list[str]:
    """A line for each cell that cannot start, because a cell that it starts from has failed. starts: by cell id."""
    titles = {row.id: row.cell for row in found}
    failed = {row.id for row in found if row.state == "failed"}
    lines, last = dict[str, str](), -1
    while len(lines) != last:  # a cell that is blocked blocks others
        last = len(lines)
        for row in found:
            before = [cell_id for cell_id in starts.get(row.id, ()) if cell_id in failed or cell_id in lines]
            if before and row.state in ("new", "started"):
                why = "failed" if before[0] in failed else "is blocked"
                lines[row.id] = f"{row.cell}: blocked, since it starts from {titles[before[0]]}, which {why}"
    return list(lines.values())


class Origin(NamedTuple):
    """What a matrix was read from."""

    digest: str = ""  # "" where what decides its cells cannot be hashed
    text: str = ""  # in YAML, for the readers of its report


UNKNOWN = Origin()  # of a matrix that was not read from a file


def origin(written: Written) -> Origin:
    return Origin(digest(written), as_yaml(written))


def digest(written: Written) -> str:
    """A hash of all that decides which cells a matrix has: what is written, and the way in which we expand it.

    "" where something comes from outside of the package: code, or a file of weights, whose content is in the ids.
    """
    backbone = written.content.get("backbone")
    of_file = isinstance(backbone, dict) and backbone.get("weights", NO_FILE[0]) not in NO_FILE
    if of_file or any(isinstance(word, str) and names_a_module(word) for word in _words(written.content)):
        return ""
    text = json.dumps([written.content, SCHEMA, EXPANSION], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _words(node: Any) -> Iterator[Any]:
    """Everything in a content that is neither a mapping nor a list."""
    if isinstance(node, dict | list):
        for each in node.values() if isinstance(node, dict) else node:
            yield from _words(each)
    else:
        yield node


def require_known(store: Store, written: Written, only: Sequence[str]) -> None:
    """Raise ValueError where a word of `only` fits no cell, as far as it is known without torch which cells there are.

    They are known where a run has begun, or `mtlbench status` was asked. Trials of a tuning are never known here.
    """
    made_from = digest(written)
    if not only or not made_from or "tune" in written.content:
        return
    cells = _in_store(store, written, made_from)
    if not cells and (text := known(f"cells {made_from}", source.state())):
        cells = _read(text)
    labels = {cell.id: cell.title.rsplit(" · ", 2)[0] for cell in cells}
    for word in only if cells else ():
        if not any(word in cell.id or word in cell.title for cell in cells):
            raise ValueError(fits_none(word, labels))


def fits_none(word: str, labels: Mapping[str, str]) -> str:
    """What is said of a word of --only that fits no cell. labels: by cell id."""
    ids = [*labels]
    more = f" and {len(ids) - IDS_SAID} more" if len(ids) > IDS_SAID else ""
    return (
        f"--only {word}: fits no cell's id and no label; labels: {', '.join(dict.fromkeys(labels.values()))}; "
        f"ids: {', '.join(ids[:IDS_SAID])}{more}"
    )


def manifest_of(store: Store, name: str) -> Manifest:
    """The manifest of a matrix. Raises CorruptRecord where its file holds none."""
    file = files.matrix(name)
    return Manifest.from_json(store.get(file).decode(errors="replace"), store.path(file))


def _in_store(store: Store, written: Written, made_from: str) -> list[Expected]:
    """The cells in the manifest that a run of the same matrix wrote; [] where there is none, or it is not complete."""
    name = files.matrix(str(written.content["name"]))
    if not made_from or not store.exists(name):
        return []
    manifest = manifest_of(store, str(written.content["name"]))
    return _expected(manifest) if manifest.written == made_from else []


def _remembered(made_from: str, expanded: Callable[[], Manifest]) -> list[Expected]:
    """The cells of a matrix from the cache of this machine; [] where they depend on records."""
    text = remembered(f"cells {made_from}", source.state(), lambda: json.dumps(_expected(expanded())))
    return _read(text)


def _read(text: str) -> list[Expected]:
    return [Expected(cell_id, title, tuple(starts)) for cell_id, title, starts in json.loads(text)]


def _expected(manifest: Manifest) -> list[Expected]:
    """The cells of a manifest; [] where a search may lead to more."""
    cells = manifest.cells()
    if any(entry.preliminary for entry in cells.values()):
        return []
    return [Expected(i, f"{e.label} · {'+'.join(e.tasks)} · seed {e.seed}", e.starts) for i, e in cells.items()]


def rows(
    store: Store, folders: Folders, titles: Mapping[str, str], stale: Iterable[str], unreadable: Mapping[str, str]
) -> list[Row]:
    """A row for each cell. titles: by cell id. stale: ids of cells that other code has made."""
    found, old = [], set(stale)
    states: dict[str, str] = {cell_id: state_of(folders.get(cell_id, ())) for cell_id in titles}
    failures = store.get_those_there(files.failure(cell_id) for cell_id in titles if states[cell_id] == "failed")
    came = _progress(store, [cell_id for cell_id in titles if states[cell_id] == "started"])
    for cell_id, title in titles.items():
        state, failure = states[cell_id], files.failure(cell_id)
        error = unreadable.get(cell_id)
        if error is None and failure in failures:
            error = str(files.read_failure(failures[failure], store.path(failure))["error"])
        elif error is None and state == "finished" and files.PER_IMAGE not in folders[cell_id]:
            again = f"`mtlbench run ... --rerun all --only {cell_id}` trains the cell anew"
            error = f"{files.PER_IMAGE} is missing, so that it has no interval over images; {again}"
        state = "corrupt" if cell_id in unreadable else "stale" if cell_id in old else state
        found.append(Row(cell_id, title, state, error, came.get(cell_id, "")))
    return found


def _progress(store: Store, cell_ids: Sequence[str]) -> dict[str, str]:
    """How far the training of each cell came by its history, as "epoch 3/10" or "step 200/1,000"."""
    contents = store.get_those_there(name(each) for each in cell_ids for name in (files.history, files.config))
    found = {}
    for cell_id in cell_ids:
        recipe = _recipe(contents.get(files.config(cell_id), b""))
        counted = "step" if isinstance(recipe.get("steps"), int) else "epoch"
        total = recipe.get(f"{counted}s")
        events = files.read_history(contents.get(files.history(cell_id), b"")).rows
        reached = max((event[counted] for event in events if isinstance(event[counted], int)), default=0)
        if reached:
            found[cell_id] = f"{counted} {reached:,}" + (f"/{total:,}" if isinstance(total, int) else "")
    return found


def _recipe(content: bytes) -> dict[str, Any]:
    """The recipe in a cell's file; {} where the file holds none."""
    try:
        cell = yaml.safe_load(content)
    except (yaml.YAMLError, UnicodeDecodeError):
        return {}
    recipe = cell.get("train") if isinstance(cell, dict) else None
    return recipe if isinstance(recipe, dict) else {}


def recorded(store: Store, unreadable: dict[str, str], folders: Folders | None = None) -> Look:
    """A `Look` into a store that changes nothing in it. Why a record cannot be read is put into `unreadable`, by cell
    id, and the cell then counts as one without a record. folders: without them every cell is asked for its record.
    """

    def look(ids: Sequence[str]) -> dict[str, Record]:
        asked = ids if folders is None else [each for each in ids if files.RECORD in folders.get(each, ())]
        contents = store.get_those_there(map(files.record, asked))
        found = {}
        for cell_id in ids:
            content = contents.get(files.record(cell_id))
            try:
                if content is not None:
                    found[cell_id] = store.read_record(cell_id, content)
            except (CorruptRecord, NewerRecord) as error:
                unreadable[cell_id] = str(error)
        return found

    return look


def made_otherwise(record: Record) -> bool:
    """Whether our code that can move the record's numbers has changed since the record was made."""
    return bool(record.provenance.get("source") != source.source_hash())
