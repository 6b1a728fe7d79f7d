"""docker: why lmboot runs nothing in it.

A runtime lives by what it inherits: the channel to its broker, its payload, its streams. docker's
command hands none of these on: it asks a service that runs as root, and containers are that
service's children. So they would be out of the supervisor's sight and reach too, and whoever may
ask that service is as good as root. podman runs the same images without any of this.
"""

from __future__ import annotations

from typing import NoReturn

from lmboot.errors import SandboxFault


def find() -> NoReturn:
    """Raise SandboxFault with what can be used instead."""
    raise SandboxFault(
        "lmboot does not run programs in docker: its containers belong to a service that runs as "
        "root, out of the reach of what would have to watch and end them",
        hint="Use --sandbox podman, which runs the same images without a service: "
        "`sudo apt install podman` (Fedora: `sudo dnf install podman`).",
    )
