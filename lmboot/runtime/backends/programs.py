"""Programs of this machine that a back end relies on, and what they say of themselves."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterable

from lmboot.errors import SandboxFault

TRUSTED_FOLDERS = ("/usr/bin", "/bin", "/usr/local/bin")


def trusted_program(name: str, folders: Iterable[str] = TRUSTED_FOLDERS) -> str | None:
    """Return a program's path, from root's folders only, whatever PATH says; None: not there.

    Raises SandboxFault where others than root could have changed it.
    """
    for folder in folders:
        path = os.path.join(folder, name)
        try:
            found = os.stat(path)
        except OSError:
            continue
        if found.st_uid != 0 or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise SandboxFault(
                f"{path} can be changed by others than root, so it is not trusted",
                hint=f"Run `sudo chown root:root {path} && sudo chmod 755 {path}`.",
            )
        return path
    return None


def printed_by(argv: list[str]) -> str:
    """Return what a program prints; nothing when it fails or can't be run."""
    return answer_of(argv)[0]


def answer_of(argv: list[str]) -> tuple[str, str]:
    """Return what a program prints, or ("", why that failed)."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=10, env={})
    except OSError as error:
        return "", error.strerror or str(error)
    except subprocess.TimeoutExpired:
        return "", "it did not end within 10 seconds"
    if done.returncode == 0:
        return done.stdout.strip(), ""
    return "", (done.stderr or done.stdout).strip() or f"it ended with status {done.returncode}"
