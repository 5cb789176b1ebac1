"""`python -m mtlbench.harness.bench [NAME...]`"""

import sys

from mtlbench.harness.search_path import look_here_last

if __name__ == "__main__":
    look_here_last()  # before anything else is imported: Python has put the current folder first
    from mtlbench.harness.bench.kernels import main

    sys.exit(main())
