"""Become another program: a second sandbox's payload, run by `start.py` as FILE PROGRAM ARG...

Beside FILE lies what the program reads on stdin; both are gone when it begins. It has no
descriptor but 0, 1 and 2, and nothing of lmboot in its environment. Standard library only.
"""

import os
import signal
import sys

assert sys.platform != "win32"  # noqa: S101 no second sandbox is made there

file, program, *arguments = sys.argv
stdin = os.open(file[: -len(".py")] + ".in", os.O_RDONLY)
os.dup2(stdin, 0)
os.unlink(file)
os.unlink(file[: -len(".py")] + ".in")
for name in [each for each in os.environ if each.startswith("LMBOOT_")]:
    del os.environ[name]
for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores these, and so would the program
    signal.signal(number, signal.SIG_DFL)
os.closerange(3, 4096)
try:
    os.execv(program, [program, *arguments])  # noqa: S606 an argument vector, and no shell
except OSError as error:
    sys.stderr.write(f"{program}: {error.strerror}\n")
    sys.stderr.flush()
    os._exit(127)
