"""mtlbench: is multi-task method A better than B, by how much, and how sure are we?

Its sub-packages are the folders methods, harness, benchmarks and results.
"""

import os.path

_methods = os.path.join(os.path.dirname(__file__), "methods")
if os.path.islink(_methods):
    # A checkout. Type checkers and builds follow the links beside this file. Python is sent to the folders themselves,
    # so that a debugger, a traceback and git all know a file by one path.
    __path__ = [os.path.dirname(os.path.realpath(_methods)), *__path__]
