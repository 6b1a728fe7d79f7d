"""Go on in the namespaces that podman made, and start the container from there.

    podman unshare python enter.py OUT ERR [HIDDEN NOTHING] -- PROGRAM ARGUMENT...

The runtime's own streams, 1 and 2 of this process, become OUT and ERR: the container gets them as
they are, and what podman has to say does not mix with what the runtime writes. HIDDEN is a file
that must look empty, as NOTHING is. Standard library only, Python 3.9+.
"""

import os
import sys

MS_BIND, MS_PRIVATE, MS_REC = 0x1000, 0x40000, 0x4000
CLONE_NEWNS = 0x20000


def hide(path: str, nothing: str) -> None:
    """Put an empty file in a file's place, for this process and all that come from it."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    done = (
        libc.unshare(CLONE_NEWNS) == 0
        and libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None) == 0
        and libc.mount(nothing.encode(), path.encode(), None, MS_BIND, None) == 0
    )
    if not done:
        sys.exit(f"{path} can't be hidden: {os.strerror(ctypes.get_errno())}")


def main(arguments: list[str]) -> None:
    """Become the program that the arguments name."""
    at = arguments.index("--")
    out, err, *hidden = arguments[:at]
    os.dup2(1, int(out))
    os.dup2(2, int(err))
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    if hidden:
        hide(*hidden)
    os.execv(arguments[at + 1], arguments[at + 1 :])  # noqa: S606 (no shell: the aim)


if __name__ == "__main__":
    main(sys.argv[1:])
