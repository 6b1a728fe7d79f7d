"""Which programs of this machine may be run for a runtime, judged by descriptor."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping, Sequence

from lmboot import system
from lmboot.runtime.operations import Refused
from lmboot.text import is_hidden

WITHIN = "/usr/"  # all that a second sandbox sees of the machine's programs
# With these a grant of one program is a grant of all that a sandbox sees: name -> why. What is
# not named here, and starts others all the same, does so in the second sandbox like everything.
_REASONS: Mapping[str, str] = {
    "is a shell": (
        "ash bash busybox csh dash elvish es fish ksh lksh mksh nu oksh osh pdksh posh "
        "pwsh rbash rc rksh rsh rzsh sash sh tclsh tcsh toybox wish xonsh ya yash zsh"
    ),
    "runs programs in its language": (
        "awk bc bugpoint bun clisp clojure cpan cscript d8 dc deno dotnet ecl elixir "
        "emacs emacsclient erl escript expect gawk gdc gforth ghc ghci ghostscript gjs "
        "gnuplot go groovy guile hy ipython irb java javac jdb jexec jjs jruby jrunscript "
        "jshell julia jupyter kotlin llc lli lua luajit m4 mariadb mawk maxima "
        "micropython mono mruby mysql nawk nim node nodejs ocaml octave opt pdb perl "
        "perldoc php pike psql ptargrep pydoc pypy python qjs R racket raku rlwrap "
        "Rscript ruby rustc sbcl scala scheme sqlite swift tcl texlua ts-node wasmer "
        "wasmtime"
    ),
    "runs the program that its arguments name": (
        "abduco busctl capsh catatonit catchsegv cgexec choom chpst chronic chroot "
        "chrpath chrt conmon coproc cpulimit daemon daemonize dbus-daemon dbus-launch "
        "dbus-run-session dbus-send deb-systemd-invoke debconf do doas dtach dumb-init "
        "eatmydata entr env envdir exec fakechroot faked fakeroot faketime firejail "
        "flatpak flock gapplication gdbus gio gp-collect-app gprofng gtk-launch hyperfine "
        "i386 ifne ionice kde-open ld ld.so ldd linux32 linux64 lockfile-create logsave "
        "lsof luit memusage mispipe msgexec msgfilter multitime newgrp nice nocache nohup "
        "nq nsenter numactl open openvt pamexec parallel pee pkexec prlimit proot prove "
        "ptyget reptyr rlfe rsetsid run-one run-parts runcon runuser script scriptreplay "
        "sem sensible-browser setarch setcpulatency setlock setpriv setsid setuidgid sg "
        "softlimit sotruss ssh-agent start-stop-daemon startx stdbuf su sudo sudoedit "
        "svlogd systemd-cat systemd-inhibit systemd-socket-activate taskset time timeout "
        "tini torify torsocks trickle ts tsocks uclampset uname26 unbuffer unshare vlock "
        "watch with-lock-ex x-session-manager x86_64 xargs xdg-open xdotool xinit "
        "xsession xterm xvfb-run"
    ),
    "has another program do its work, if told to": (
        "animate apt apt-get aptitude ar bison borg bsdtar compare composite conjure "
        "convert cpio cscope ctags curl-config diff3 display dpkg dpkg-deb dpkg-source "
        "dpkg-trigger dvipdf enscript eqn exim fd fdfind ffmpeg find flex ftp git gpg "
        "gpg-agent gpg2 groff gs gtar hg identify import install joe latex latexmk lftp "
        "links logrotate lpr lualatex luatex lynx magick mail mailx mc mogrify montage "
        "mutt nm nroff objcopy objdump openssl pandoc patch pdflatex pdftex pic ranger "
        "ranlib rclone rdiff-backup restic rpm rpmbuild rsync sdiff sed sendmail sftp "
        "socat sox split stream strip svn tar tcpdump telnet tex tig troff tshark unison "
        "w3m wget xelatex xetex xz-utils zcat-wrapper zip"
    ),
    "starts programs from within": (
        "atom byobu bzless bzmore code ed edit ex fzf gdbtui gedit gvim helix hx info jed "
        "kak kate less lesspipe lzless lzmore man micro more most nano nvim pager pg pico "
        "red rnano rview rvim screen sensible-editor sensible-pager tmux vi view vim "
        "vimdiff vimtutor xedit xzless xzmore zellij zless zmore zstdless"
    ),
    "builds or installs, by scripts": (
        "ant autoconf automake autoreconf bazel bundle bundler c++ c89 c99 cabal cargo cc "
        "clang clang++ cmake composer conda corepack cpack cpp ctest dmake "
        "dpkg-buildpackage easy_install fakeroot-tcp g++ gcc gem gfortran gmake gradle "
        "imake just libtool make meson mvn ninja npm npx opam pdm pip pipenv pipx pnpm "
        "poetry pytest qmake rake rustup scons task tox uv uvx virtualenv waf yarn"
    ),
    "sets up a sandbox or a machine, and runs programs in it": (
        "apptainer buildah bwrap crun ctr debootstrap docker kubectl lxc lxc-attach "
        "lxc-start machinectl minijail0 nerdctl nsjail podman qemu qemu-system-x86 runc "
        "runsc schroot singularity systemd-nspawn vagrant virsh wine wine64 youki"
    ),
    "traces or measures another program, or reaches into it": (
        "bpftrace dtrace gcore gdb gdbserver heaptrack lldb ltrace perf rr stap strace "
        "uftrace valgrind xtrace"
    ),
    "runs programs elsewhere": (
        "ansible at atq autossh batch crontab dbclient dropbear incrontab mosh nc ncat "
        "netcat nmap pdsh pssh rcp rexec rlogin scp slogin ssh sshpass systemctl "
        "systemd-run telinit"
    ),
}
_BY_NAME: Mapping[str, str] = {
    name: why for why, names in _REASONS.items() for name in names.split()
}
_PLATFORM = re.compile(r"^(?!ld-)[a-z0-9_]+-(?:linux|pc|unknown|apple|w64)-[a-z0-9]+-")
_FIRST_WORD = re.compile(r"[A-Za-z+]*")  # vim.basic, python3.11, gcc-12, nc.openbsd
# Options by which a program that may be granted would run another; such a call is refused.
_OPTIONS: Mapping[str, tuple[str, ...]] = {"sort": ("--compress-program",)}


def located(path: str) -> str:
    """Return where a program really lies; raise Refused where it must not be run.

    It is a file under /usr, of root's or the user's own, that nobody else can change.
    """
    if not system.LINUX:
        raise Refused("unavailable", "programs of this system can't be run in a second sandbox")
    if any(map(is_hidden, path)) or not os.path.isabs(path) or os.path.normpath(path) != path:
        raise Refused("bad_argument", "a program is named by its whole path, as /usr/bin/sort is")
    try:
        real = os.path.realpath(path, strict=True)
        descriptor = os.open(real, system.O_PATH | system.O_NOFOLLOW | system.O_CLOEXEC)
    except (OSError, ValueError):
        raise Refused("not_found", "there is no such program") from None
    try:
        found, lies = os.fstat(descriptor), system.path_of(descriptor)
    finally:
        os.close(descriptor)
    if lies is None:
        raise Refused("unavailable", "where a program lies can't be told without /proc")
    problem = _problem(found, lies)
    if problem:
        raise Refused("bad_program", f"this program {problem}")
    return real


def _problem(found: os.stat_result, real: str) -> str | None:
    """Return what speaks against a program, as the end of a sentence."""
    if not real.startswith(WITHIN):
        return f"lies outside {WITHIN}, where a sandbox does not see it"
    if not stat.S_ISREG(found.st_mode) or not found.st_mode & 0o111:
        return "is no file that can be run"
    if found.st_uid not in (0, system.user()) or found.st_mode & 0o022:
        return "can be changed by others"
    if found.st_mode & (stat.S_ISUID | stat.S_ISGID):
        return "runs with the rights of another user"
    return None


def runs_others(path: str) -> str:
    """Return why a program's grant would be one of others, too, as the end of a sentence; or "".

    It is judged by its name, whatever its version or platform is.
    """
    name = _PLATFORM.sub("", os.path.basename(path))
    first = _FIRST_WORD.match(name)
    return _BY_NAME.get(name) or _BY_NAME.get(first[0] if first else "", "")


def check_options(path: str, arguments: Sequence[str]) -> None:
    """Raise Refused where an option would have a program run another; it may be abbreviated."""
    for option in _OPTIONS.get(os.path.basename(path), ()):
        for word in arguments:
            if len(word) > 2 and option.startswith(word.partition("=")[0]):
                raise Refused("bad_argument", f"{option} would run another program")
