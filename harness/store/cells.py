"""A cell is found by what a person types: words of its title or of its id."""

from __future__ import annotations

import re

from mtlbench.harness.store.store import Store
from mtlbench.results.records import files
from mtlbench.results.records.record import CorruptRecord, Manifest

SHOWN = 8  # cells that a refusal lists


def find_cell(store: Store, part: str, matrix: str | None = None, left_out: dict[str, str] | None = None) -> str:
    """The id of the one cell that has all words of `part` in its id or its title, as "pad seed 1"; case is ignored.

    Where several cells have them, those go first whose whole task set is a word.
    matrix: only cells of this matrix. Why another manifest cannot be read is put into `left_out`, by the name of the
    matrix; its cells have no title. Raises FileNotFoundError that lists the cells in question, and CorruptRecord where
    `matrix` cannot be read.
    """
    left_out = {} if left_out is None else left_out
    titles = _titles(store, matrix, left_out)
    if part in titles:
        return part
    # The hash at the end of an id is no place for the number of a seed, and seed 1 is not seed 10.
    words = [re.compile(_as_pattern(word), re.IGNORECASE) for word in part.split()]
    texts = {cell_id: f"{cell_id.rpartition('-')[0]} {name}" for cell_id, name in titles.items()}
    found = [i for i in titles if part in i or all(word.search(texts[i]) for word in words)]
    for word in part.lower().split():  # semseg, where cells of semseg+depth fit too, is the set of one task
        found = [i for i in found if f" · {word} · " in titles[i].lower()] or found
    if len(found) == 1:
        return found[0]
    what = f"fits {len(found)} cells" if found else "fits no cell"
    place = store.url if matrix is None else f"{matrix} in {store.url}"
    shown = [titles[cell_id] or cell_id for cell_id in found or titles]
    if len(set(shown)) < len(shown):  # cells of several matrices may have one title
        shown = list(found or titles)
    some = "; ".join(shown[:SHOWN]) + (f"; and {len(shown) - SHOWN} more" if len(shown) > SHOWN else "")
    raise FileNotFoundError(
        f"{part!r} {what} of {place}; "
        + (f"{'say more of one' if found else 'it has'}: {some}" if some else "it has none")
        + "".join(f"; left out: {line}" for line in left_out.values())
    )


def _as_pattern(word: str) -> str:
    """Of a word that does not end, or begin, within a number."""
    before, after = (r"(?<!\d)" if word.isdigit() else ""), (r"(?!\d)" if word[-1].isdigit() else "")
    return f"{before}{re.escape(word)}{after}"


def _titles(store: Store, matrix: str | None, left_out: dict[str, str]) -> dict[str, str]:
    """Cell id -> its title; "" where no matrix of the store has the cell.

    Why a manifest cannot be read is put into `left_out`, by the name of the matrix.
    """
    known = files.matrix_names(store.names(files.MATRICES, "file"))
    if matrix is not None and matrix not in known:
        raise FileNotFoundError(
            f"{store.url}: no matrix {matrix!r} was run into this store; it holds: {', '.join(known) or 'none'}"
        )
    titles = {} if matrix else dict.fromkeys(store.cells(), "")
    for name in known if matrix is None else [matrix]:
        file = files.matrix(name)
        try:
            cells = Manifest.from_json(store.get(file).decode(errors="replace"), store.path(file)).cells()
        except CorruptRecord as error:
            if matrix is not None:
                raise
            left_out[name] = str(error)
            continue
        titles |= {i: f"{e.label} · {'+'.join(e.tasks)} · seed {e.seed}" for i, e in cells.items()}
    return titles
