"""Start a payload's FILE as `python FILE args` would; runs inside, before the payload does.

Descriptor LMBOOT_FD is a socket to the host. READY is told as soon as this file has been read,
long before there is a payload; GO means that the descriptor after it now holds everything, as
netstrings: a header, how many arguments, these, then paths and contents. RUN is told when all of
that is in place, FAULT when it can't be: then nothing has run. The descriptor after that is the
program's stdin. Standard library only, Python 3.9+.

With arguments (`start.py LIFE OUT ERR`) this is the first process of a container, which nobody
else looks after: it stays that, and a child of it goes on.
"""

import _sitebuiltins
import builtins
import os
import sys

# No link in the last place of a path; and on Windows, whose ends of lines are others, no change.
_OF_THE_SYSTEM = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
ENVIRONMENT = ("PATH", "LANG", "HOME", "TMPDIR", "LMBOOT_FD", "LMBOOT_ROUTES")  # nothing else


if sys.platform != "win32":  # which has no process spaces

    def leave_first_process(life: int, out: int, err: int) -> None:
        """Go on as a child of this process, with these descriptors as its streams."""
        reading, writing = os.pipe()
        child = os.fork()
        if child:
            keep_house(child, life)
        os.close(writing)
        os.read(reading, 1)  # until the other has closed what is to be this one's alone
        os.dup2(out, 1)
        os.dup2(err, 2)

    def keep_house(child: int, life: int) -> None:
        """Collect the dead; end as the child does, or at once when nobody listens to `life`.

        The end of a space's first process is the end of all that are in it. Its status is told
        there, too, for those whose child it is not.
        """
        os.closerange(3, life)
        os.closerange(life + 1, 4096)
        import select
        import signal

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        woken, waker = os.pipe()
        os.set_blocking(waker, False)
        signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        poller = select.poll()
        poller.register(woken, select.POLLIN)
        poller.register(life, 0)
        become_unreadable()
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == child:
                code = os.waitstatus_to_exitcode(status)
                code = code if code >= 0 else 128 - code
                try:
                    os.write(life, b"%d" % code)
                finally:
                    os._exit(code)
            if pid == 0:
                ready = [descriptor for descriptor, _ in poller.poll()]
                if life in ready:
                    os._exit(1)
                os.read(woken, 4096)


def become_unreadable() -> None:
    """Keep the program from looking into, or changing, the process that looks after it."""
    try:
        import ctypes
    except ImportError:
        return  # the space still ends with that process, whatever becomes of it
    ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)  # PR_SET_DUMPABLE


def prepare(channel: int) -> tuple[str, list[str]]:
    """Wait for the payload and unpack it; return (folder of the host's library, limits)."""
    nonce = os.read(channel + 1, 32)
    os.write(channel, b"READY %b\n" % nonce)
    if os.read(channel, 16) != b"GO\n":
        os._exit(1)
    try:
        library, limits = unpack(read_all(channel + 1)[len(nonce) :])
    except Exception as error:  # noqa: BLE001 whatever it is: the host must hear of it
        os.write(channel, f"FAULT {error!r:.300}\n".encode())
        os._exit(1)
    os.dup2(channel + 2, 0)
    os.closerange(3, channel)
    os.closerange(channel + 1, 4096)
    os.write(channel, b"RUN\n")
    return library, limits


def unpack(data: bytes) -> tuple[str, list[str]]:
    """Write the payload's files, set its arguments and routes; return what `prepare` does."""
    header, count, *rest = netstrings(data)
    files = rest[int(count) :]
    for at in range(0, len(files), 2):
        write(files[at], files[at + 1])
    library, routes, *limits = header.decode().split("\n")
    sys.argv[:] = [argument.decode() for argument in rest[: int(count)]]
    os.environ["LMBOOT_ROUTES"] = routes
    return library, limits


def read_all(descriptor: int) -> bytes:
    """Return what a file holds, from its beginning."""
    with open(descriptor, "rb", closefd=False) as file:
        file.seek(0)
        return file.read()


def netstrings(data: bytes) -> list[bytes]:
    """Return the strings of `5:hello,0:,`; raise ValueError where that is not the form."""
    strings, at = [], 0
    while at < len(data):
        colon = data.index(b":", at)
        at = colon + 1 + int(data[at:colon])
        strings.append(data[colon + 1 : at])
        if data[at : at + 1] != b",":
            raise ValueError("not a netstring")
        at += 1
    return strings


def write(path: bytes, content: bytes) -> None:
    """Write one new file, and the folders above it."""
    if b"/" in path:
        os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _OF_THE_SYSTEM
    descriptor = os.open(path, flags, 0o600)
    while content:
        content = content[os.write(descriptor, content) :]
    os.close(descriptor)


def restrict(limits: list[str]) -> None:
    """Set what the kernel can bound for one process: lines such as `NOFILE 256 256`."""
    if sys.platform != "win32":
        import resource  # not in every world that this file is read in

        for line in limits:
            name, soft, hard = line.split()
            which = getattr(resource, "RLIMIT_" + name)
            ceiling = resource.getrlimit(which)[1]
            wanted = (int(soft), int(hard))
            if ceiling != resource.RLIM_INFINITY:
                wanted = (min(wanted[0], ceiling), min(wanted[1], ceiling))
            resource.setrlimit(which, wanted)


def program(file: str, library: str) -> tuple[str, dict[str, object]]:
    """Return (path, names) of FILE as the real __main__, with sys.path and builtins as usual."""
    builtins.exit = _sitebuiltins.Quitter("exit", "Ctrl-D (i.e. EOF)")
    builtins.quit = _sitebuiltins.Quitter("quit", "Ctrl-D (i.e. EOF)")
    builtins.help = _sitebuiltins._Helper()
    workspace = os.getcwd()
    path = os.path.join(workspace, file)
    folder = os.path.dirname(path)
    sys.path[:0] = [folder, library] if folder == workspace else [folder, workspace, library]
    module = type(sys)("__main__")
    loader = type(globals()["__loader__"])("__main__", path)
    module.__dict__.update(
        __annotations__={},
        __builtins__=builtins,
        __cached__=None,
        __file__=path,
        __loader__=loader,
    )
    sys.modules["__main__"] = module
    return path, module.__dict__


def without_us(error: BaseException) -> BaseException:
    """Return an exception without the frame of this file, which is the first of its traceback."""
    traceback = error.__traceback__
    return error.with_traceback(traceback and traceback.tb_next)


def report(error: BaseException) -> None:
    """Show an exception as the interpreter does, without the frames of this file."""
    hook = getattr(sys, "excepthook", sys.__excepthook__)
    try:
        hook(type(error), error, error.__traceback__)
    except SystemExit:
        raise
    except BaseException as failure:  # noqa: BLE001 shown, as the interpreter does
        shown = without_us(failure)
        sys.stderr.write("Error in sys.excepthook:\n")
        sys.__excepthook__(type(shown), shown, shown.__traceback__)
        sys.stderr.write("\nOriginal exception was:\n")
        sys.__excepthook__(type(error), error, error.__traceback__)
    sys.excepthook = lambda *_: None  # shown; what remains is the exit status


def start() -> tuple[str, dict[str, object]]:
    """Prepare everything; return (path, names) of the program."""
    if sys.platform != "win32" and sys.argv[1:]:
        leave_first_process(*map(int, sys.argv[1:]))
    library, limits = prepare(int(os.environ["LMBOOT_FD"]))
    for name in set(os.environ) - set(ENVIRONMENT):
        del os.environ[name]  # a sandbox's own, an image's, the interpreter's own
    restrict(limits)
    return program(sys.argv[0], library)


if __name__ == "__main__":
    path, names = start()
    try:
        with open(path, "rb") as file:
            source = file.read()
        exec(compile(source, path, "exec", dont_inherit=True), names)
    except SystemExit:
        raise
    except BaseException as error:
        report(without_us(error))
        raise
