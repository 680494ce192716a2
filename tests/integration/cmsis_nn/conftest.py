"""Not collected without the oracle, TFLM's own interpreter (PyPI tflite-micro).

It is not among the project's dependencies until the compiler these tests are for is wired in.
"""

import importlib.util

collect_ignore_glob = [] if importlib.util.find_spec("tflite_micro") else ["test_*.py"]
