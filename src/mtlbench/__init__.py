"""mtlbench: is multi-task method A better than B, by how much, and how sure are we?

Its sub-packages are the folders methods, harness, benchmarks and results.
"""

from pathlib import Path

_methods = Path(__file__).with_name("methods")
if _methods.is_symlink():
    # A checkout. Type checkers and builds follow the links beside this file. Python is sent to the folders themselves,
    # so that a debugger, a traceback and git all know a file by one path.
    __path__ = [str(_methods.resolve().parent), *__path__]
