"""`python -m mtlbench.harness.bench [NAME...]`"""

import sys

from mtlbench.harness.bench.kernels import main

if __name__ == "__main__":
    sys.exit(main())
