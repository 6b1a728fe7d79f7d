"""All of this folder once more, as a user without any rights: lmboot must not need root."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
USER = 54321  # nobody, and not of the range that runs get theirs from


@pytest.mark.sandbox
@pytest.mark.timeout(400)
@pytest.mark.skipif(os.geteuid() != 0, reason="this is already the second round")
@pytest.mark.parametrize(
    "part", ["test_world.py", "test_limits.py", "test_lifecycle.py", "test_copy_out.py"]
)
def test_everything_holds_for_a_plain_user(part: str, tmp_path: Path) -> None:
    home = Path("/tmp") / f"lmboot-home-{os.getpid()}-{part}"
    home.mkdir(mode=0o700)
    os.chown(home, USER, USER)
    try:
        done = subprocess.run(
            [
                *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"),
                *("--basetemp", str(home / "tmp"), str(Path(__file__).parent / part)),
            ],
            cwd=ROOT,
            env={"HOME": str(home), "PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"},
            user=USER,
            group=USER,
            extra_groups=[],
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        subprocess.run(["rm", "-rf", str(home)], check=True)

    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert " passed" in done.stdout
