"""Long runs, by hand: `python -m tests.soak [NAME ...] [--json]`; figures, or what failed.

`pytest` runs each once with a small count.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.figures import run

if __name__ == "__main__":
    sys.exit(run(Path(__file__).parent))
