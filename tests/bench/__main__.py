"""Benchmarks: lmboot against something bare, both sides in one run, interleaved.

`python -m tests.bench [NAME ...] [--json]`. Figures are medians and their ratios, since other
programs share the machine; `at_most` and `at_least` are what the ratio is meant to be. No test
asserts any of them.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.figures import run

if __name__ == "__main__":
    sys.exit(run(Path(__file__).parent))
