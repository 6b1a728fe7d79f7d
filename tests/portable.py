"""The portable sandbox's compiled engine, for tests: made once on a machine, lent to each cache.

`python -m tests.portable` makes it ahead of the tests: it takes a minute, once.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
from pathlib import Path

from lmboot.runtime import compiled

OWN = compiled.cache_folder()  # the user's, before any test gives itself another
SECONDS = 900  # for the first test of a session that needs it, where nobody made it ahead


def prepare() -> None:
    """See to it that it is there."""
    asyncio.run(compiled.prepare(lambda text: print(text, file=sys.stderr)))


def lend(cache: Path) -> None:
    """Have it in another cache of the user's, made first if need be; root has one for all."""
    asyncio.run(compiled.prepare(lambda _: None, OWN))
    there = cache / "lmboot" / "wasm"
    if OWN == compiled.EVERYBODYS or there.exists():
        return
    shutil.copytree(OWN, there)


if __name__ == "__main__":
    prepare()
