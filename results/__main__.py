"""Command line of the results alone: reports, audits of printed tables, plans. Needs neither torch nor a GPU."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from results import planner
from results.audit import BadTable, load, published
from results.audit import text as audit_text
from results.rebase import text as rebase_text
from results.record import CorruptRecord, NewerRecord

EXAMPLES = """examples:
  python -m results report runs --out reports               every matrix of the store ./runs
  python -m results report s3://bucket/runs table1 --out .  one matrix of a store elsewhere
  python -m results audit                                   the published tables that come with the package
  python -m results audit table.csv                         a table of your own (columns as in results/published.csv)
  python -m results audit --baseline depth=0.625,semseg=37.99   the same tables, had this been their baseline
  python -m results plan --difference 1 --sd 0.82           seeds that find a difference of one point
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0, or 2 with one line on stderr when the store or the table cannot be read."""
    options = _parser().parse_args(arguments)
    try:
        return {"report": _report, "audit": _audit, "plan": _plan}[options.command](options)
    except (CorruptRecord, NewerRecord, BadTable, planner.BadPlan, OSError) as error:
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
    table = published() if options.table is None else load(options.table)
    print(audit_text(table, options.table) if options.baseline is None else rebase_text(table, options.baseline))
    return 0


def _plan(options: argparse.Namespace) -> int:
    print(planner.sentence(options.difference, options.sd, power=options.power))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m results",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="{report,audit,plan}")
    of_report = commands.add_parser("report", help="tables, figures and a page for the matrices of a store")
    of_report.add_argument("store", help="folder or fsspec URL that matrices were run into")
    of_report.add_argument("matrix", nargs="*", help="names of matrices; all in the store when none is given")
    of_report.add_argument("--out", type=Path, required=True, help="folder to write MATRIX/ into")
    of_audit = commands.add_parser("audit", help="which printed deltas cannot follow from the printed metrics")
    of_audit.add_argument("table", nargs="?", help="CSV in the columns of results/published.csv, which is the default")
    of_audit.add_argument("--baseline", help="another baseline of the same tasks, as depth=0.625,semseg=37.99")
    of_plan = commands.add_parser("plan", help="how many seeds a question needs")
    of_plan.add_argument("--difference", type=float, required=True, help="that is to be found, in points of Delta_m")
    of_plan.add_argument("--sd", type=float, required=True, help="of the difference of two runs of one seed, in points")
    of_plan.add_argument("--power", type=float, default=0.8, help="probability of finding it (default: 0.8)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
