"""Command line of the results alone: reports from a store, audits of printed tables. Needs neither torch nor a GPU."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from results.audit import BadTable, audit, load, markdown, published
from results.record import CorruptRecord, NewerRecord

EXAMPLES = """examples:
  python -m results report runs --out reports               every matrix of the store ./runs
  python -m results report s3://bucket/runs table1 --out .  one matrix of a store elsewhere
  python -m results audit                                   the published tables that come with the package
  python -m results audit table.csv                         a table of your own (columns as in results/published.csv)
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0, or 2 with one line on stderr when the store or the table cannot be read."""
    options = _parser().parse_args(arguments)
    try:
        return _report(options) if options.command == "report" else _audit(options)
    except (CorruptRecord, NewerRecord, BadTable, OSError) as error:
        print(f"python -m results: {error}", file=sys.stderr)
        return 2


def _report(options: argparse.Namespace) -> int:
    from results.report import report  # matplotlib takes seconds, which `audit` and `--help` need not wait for

    written = report(options.store, options.matrix, options.out)
    print(written.markdown)
    for path in written.paths:
        print(path, file=sys.stderr)
    return 0


def _audit(options: argparse.Namespace) -> int:
    found = audit(published() if options.table is None else load(options.table))
    if found.empty:
        raise BadTable(f"{options.table}: no row has both a baseline and a printed_delta, so there is nothing to audit")
    print(markdown(found))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m results",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="{report,audit}")
    of_report = commands.add_parser("report", help="tables, figures and a page for the matrices of a store")
    of_report.add_argument("store", help="folder or fsspec URL that matrices were run into")
    of_report.add_argument("matrix", nargs="*", help="names of matrices; all in the store when none is given")
    of_report.add_argument("--out", type=Path, required=True, help="folder to write MATRIX/ into")
    of_audit = commands.add_parser("audit", help="which printed deltas cannot follow from the printed metrics")
    of_audit.add_argument("table", nargs="?", help="CSV in the columns of results/published.csv, which is the default")
    return parser


if __name__ == "__main__":
    sys.exit(main())
