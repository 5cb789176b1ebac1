"""Where tests find what lies beside them."""

from pathlib import Path

TESTS = Path(__file__).resolve().parent
ROOT = TESTS.parent
REFERENCE = TESTS / "reference"
REAL = ROOT.parent / "shared" / "real"  # small real data sets; tests skip where there are none
