"""Where tests find what lies beside them."""

import os
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parent
ROOT = TESTS.parent
REFERENCE = TESTS / "reference"
REAL = ROOT.parent / "shared" / "real"  # small real data sets; tests skip where there are none
SHARED_REFERENCE = ROOT.parent / "shared" / "reference"  # more fingerprints; tests skip where there are none
PRINTED = ROOT.parent / "shared" / "reference" / "printed_tables"  # of papers; tests skip where there are none
SHELLCHECK = Path(sys.executable).with_name("shellcheck")  # tests skip where it is not installed

# For a process that a test starts: the helpers beside this file and, whatever is installed, this checkout.
PYTHONPATH = os.pathsep.join([str(TESTS), str(ROOT / "src")])
