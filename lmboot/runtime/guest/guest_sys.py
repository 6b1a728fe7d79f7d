"""What a runtime may ask of its host. lmboot puts this module on the path of every runtime.

`call(op, **args)` performs one operation by its route:

    EMULATE   here, on a file system in memory that nobody else sees
    HOST      by the host's broker, within what the user allows
    DENY      not at all: raises Denied

`routes()` tells the route of every operation; an operation that it does not list is denied.
The short names below (`read("a.txt")`) are the same calls. Standard library only, Python 3.9+.
"""

import os

ALIASES = {
    "open": "fs.open",
    "read": "fs.read_text",
    "write": "fs.write_text",
    "list": "fs.list",
    "stat": "fs.stat",
    "remove": "fs.remove",
    "reload_weights": "reload_model",
}

_files = {}  # path -> text; gone with the process
_routes = dict(pair.split("=", 1) for pair in os.environ.get("LMBOOT_ROUTES", "").split())


class Denied(PermissionError):
    """The route of this operation is DENY, or nobody can perform it."""


class HostUnavailable(OSError):
    """The route is HOST, but there is no broker that could perform it; nothing was done."""


def routes():
    """Return {operation: "EMULATE" | "HOST" | "DENY"}, a copy."""
    return dict(_routes)


def call(op, **args):
    """Perform one operation and return its result; raise an OSError that says why it was not."""
    op = ALIASES.get(op, op)
    route = _routes.get(op, "DENY")
    if route == "HOST":
        raise HostUnavailable(f"{op} is routed to the host, but this lmboot has no broker yet")
    if route == "EMULATE" and op in _EMULATORS:
        return _EMULATORS[op](**args)
    raise Denied(f"{op} is denied")


def open(path):
    """Make sure that a file exists; return its handle as text."""
    return call("fs.open", path=path)


def read(path):
    """Return the text of a file."""
    return call("fs.read_text", path=path)


def write(path, text):
    """Replace the text of a file; return the number of characters."""
    return call("fs.write_text", path=path, text=text)


def list(path=""):
    """Return the names of the files beneath a folder, sorted."""
    return call("fs.list", path=path)


def stat(path):
    """Return {"size": characters} of a file."""
    return call("fs.stat", path=path)


def remove(path):
    """Remove a file."""
    return call("fs.remove", path=path)


def fetch(url):
    """Return the text behind an address."""
    return call("fetch", url=url)


def _name(path):
    name = "/".join(part for part in str(path).split("/") if part not in ("", "."))
    if not name or ".." in name.split("/"):
        raise OSError(f"not a file name: {path!r}")
    return name


def _existing(path):
    name = _name(path)
    if name not in _files:
        raise OSError(f"no file {name}")
    return name


def _open(path):
    name = _name(path)
    _files.setdefault(name, "")
    return f"ok, handle: vfs.{name}"


def _read_text(path):
    return _files[_existing(path)]


def _write_text(path, text):
    _files[_name(path)] = str(text)
    return len(str(text))


def _list(path=""):
    folder = str(path).strip("/")
    return sorted(name for name in _files if not folder or name.startswith(folder + "/"))


def _stat(path):
    return {"size": len(_files[_existing(path)])}


def _remove(path):
    del _files[_existing(path)]


_EMULATORS = {
    "fs.open": _open,
    "fs.read_text": _read_text,
    "fs.write_text": _write_text,
    "fs.list": _list,
    "fs.stat": _stat,
    "fs.remove": _remove,
}
