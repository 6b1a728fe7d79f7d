"""What runs something, and the attacks, as a user without any rights: lmboot needs no root."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests import portable

ROOT = Path(__file__).parents[2]
USER = 54321  # nobody, and not of the range that runs get theirs from
# The checkout may lie where only root can go, so its parts are mounted where everybody can.
# firejail starts those alone whom /etc/passwd names.
AS_USER = """
set -e
for part in .venv lmboot tests assets; do
    mkdir "$2/checkout/$part"
    mount --bind "$1/$part" "$2/checkout/$part"
done
cp "$1/pyproject.toml" "$2/checkout"
{ cat /etc/passwd; echo "lmboot-test:x:$3:$3::/nonexistent:/bin/sh"; } > "$2/passwd"
mount --bind "$2/passwd" /etc/passwd
cd "$2/checkout"
exec setpriv --reuid "$3" --regid "$3" --clear-groups -- \\
    .venv/bin/python -m pytest -q -p no:cacheprovider --basetemp "$2/tmp" \\
    -m "attack or not attack" "$4"
"""


@pytest.mark.attack
@pytest.mark.sandbox
@pytest.mark.timeout(portable.SECONDS)
@pytest.mark.skipif(os.geteuid() != 0, reason="this is already the second round")
@pytest.mark.parametrize(
    "part",
    [
        "runtime/test_world.py",
        "runtime/test_limits.py",
        "runtime/test_lifecycle.py",
        "runtime/test_copy_out.py",
        "runtime/test_landlock.py",
        "runtime/test_container.py",
        "runtime/plain_user_images.py",
        "runtime/test_firejail.py",
        "runtime/firejail_world.py",
        "runtime/test_worker.py",
        "runtime/test_wasm.py",
        "runtime/test_wasm_pipes.py",
        "attacks/test_escape.py",
        "attacks/test_abuse.py",
    ],
)
def test_everything_holds_for_a_plain_user(part: str) -> None:
    home = Path(tempfile.mkdtemp(prefix="lmboot-home-", dir="/tmp"))
    (home / "checkout").mkdir()
    if "wasm" in part:
        _lend(home)
    os.chown(home, USER, USER)
    script = ["unshare", "--mount", "--propagation", "private", "sh", "-c", AS_USER, "sh"]
    words = [str(ROOT), str(home), str(USER), f"tests/{part}"]
    try:
        done = subprocess.run(
            [*script, *words],
            env={
                "HOME": str(home),
                "PATH": "/usr/bin:/bin:/usr/sbin:/sbin",
                "PYTHONDONTWRITEBYTECODE": "1",
                "PYTHONPATH": str(home / "checkout"),
            },
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        subprocess.run(["rm", "-rf", "--one-file-system", str(home)], check=True)

    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert " passed" in done.stdout


def _lend(home: Path) -> None:
    """Give the user the portable sandbox's engine, which would take him a minute to compile."""
    portable.prepare()
    there = home / ".cache" / "lmboot" / "wasm"
    shutil.copytree(portable.OWN, there)
    for path in (home / ".cache", *(home / ".cache").rglob("*")):
        os.chown(path, USER, USER)
        path.chmod(0o700 if path.is_dir() else 0o600)
