"""The command line: what can be said, and which code it ends with. Each command imports its own.

Nothing heavy is imported here, so that `lmboot --help` answers at once.
"""

from __future__ import annotations

import errno
import os
import sys
from typing import Any

import click

from lmboot import __version__
from lmboot.cli.faults import output_fault, told
from lmboot.errors import Interrupted, LmbootError

_SANDBOXES = (
    "auto",
    "bubblewrap",
    "podman",
    "docker",
    "landlock",
    "wasm",
    "firejail",
    "seatbelt",
    "appcontainer",
    "none",
)
_ERROR_OF_OURS = 70  # none of the contract's codes: they all mean something else
_server = click.option("--server", metavar="URL", help="The model server, with or without /v1.")
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group(
    context_settings={"help_option_names": ["-h", "--help"]},
    help="""Run what a local model writes, in a sandbox, after you have read it and agreed.

    \b
    lmboot                pick a model and bootstrap it
    lmboot FILE.gguf      the same with a model from disk""",
)
@click.version_option(__version__, message="lmboot %(version)s")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def lmboot(debug: bool) -> None:
    """Take the options that every command has."""


@lmboot.command()
@_server
@_json
def models(**options: Any) -> int:
    """List the models of the servers that run, and the seed model."""
    from lmboot.cli.listing import list_all

    return list_all(**options)


@lmboot.command()
@_server
@click.option("--model", metavar="ID|FILE", help="A model of the list, a .gguf file, or seed.")
@click.option("--payload", metavar="FILE|-", help="Run this payload; no model is asked.")
@click.option("--sandbox", type=click.Choice(_SANDBOXES), default="auto", show_default=True)
@click.option("--no-border", is_flag=True, help="Agree to run without a sandbox (with none).")
@click.option("--yes", is_flag=True, help="Agree to write and run what the model answers.")
@_json
@click.option(
    "--wait",
    "wait_seconds",
    type=click.FloatRange(0, 86400),
    default=10.0,
    metavar="S",
    show_default=True,
    help="How long a line waits for its answer.",
)
@click.option(
    "--repair",
    "repairs",
    type=click.IntRange(0, 5),
    default=2,
    metavar="N",
    show_default=True,
    help="How often the model may mend its answer.",
)
@click.option("--keep", metavar="DIR", help="Copy out what the runtime wrote.")
def boot(**options: Any) -> int:
    """Bootstrap a model: ask it for a payload, review it, run it, talk to it."""
    from lmboot.cli.boot import boot_from_options

    return boot_from_options(**options)


@lmboot.command()
@click.argument("file", metavar="FILE|-")
@_json
def check(**options: Any) -> int:
    """Judge a model's reply without writing or running anything."""
    from lmboot.cli.check import check_file

    return check_file(**options)


@lmboot.command()
@_json
@click.option("--probe", is_flag=True, help="Report what holds a runtime here, with the proof.")
def doctor(**options: Any) -> int:
    """Show what lmboot finds: servers, engine, sandbox, keyring, display."""
    from lmboot.cli.doctor import examine

    return examine(**options)


@lmboot.command()
@click.option("--format", "form", type=click.Choice(["text", "modelfile", "json"]), default="text")
def primer(form: str) -> int:
    """Print the primer and the trigger, to put into a server oneself."""
    from lmboot.cli.primer import print_primer

    return print_primer(form)


@lmboot.group()
def payloads() -> None:
    """Look after the payloads that were kept."""


@payloads.command("list")
@_json
def payloads_list(**options: Any) -> int:
    """List them, the newest first."""
    from lmboot.cli.payloads import list_kept

    return list_kept(**options)


@payloads.command("show")
@click.argument("hash_", metavar="HASH")
@_json
def payloads_show(**options: Any) -> int:
    """Show one: its manifest and its files."""
    from lmboot.cli.payloads import show_kept

    return show_kept(**options)


@payloads.command("export")
@click.argument("hash_", metavar="HASH")
@click.argument("file", metavar="FILE|-", default="-")
def payloads_export(**options: Any) -> int:
    """Write one to a file, as the JSON that `boot --payload` takes."""
    from lmboot.cli.payloads import export_kept

    return export_kept(**options)


@payloads.command("import")
@click.argument("file", metavar="FILE|-")
def payloads_import(**options: Any) -> int:
    """Keep a payload from a file; nothing is run, and nothing counts as agreed to."""
    from lmboot.cli.payloads import import_one

    return import_one(**options)


@payloads.command("remove")
@click.argument("hash_", metavar="HASH")
def payloads_remove(**options: Any) -> int:
    """Forget one."""
    from lmboot.cli.payloads import remove_kept

    return remove_kept(**options)


@lmboot.group()
def audit() -> None:
    """Read what a run was allowed and denied, and check that nobody changed it."""


@audit.command("show")
@click.argument("wanted", metavar="RUN|FILE")
@_json
def audit_show(**options: Any) -> int:
    """Show a run's records; `last` is the newest run."""
    from lmboot.cli.audit import show_log

    return show_log(**options)


@audit.command("verify")
@click.argument("wanted", metavar="[RUN|FILE]", default=None)
@_json
def audit_verify(**options: Any) -> int:
    """Say whether a run's records are whole: exit 0, damaged: 1; of all runs if none is named."""
    from lmboot.cli.audit import verify_log

    return verify_log(**options)


def run(arguments: list[str]) -> int:
    """Carry out a command line and return its exit code; no traceback without --debug."""
    _open_streams()
    debug = "--debug" in arguments  # before the command or behind it
    words = [word for word in arguments if word != "--debug"]
    try:
        result = lmboot.main(_with_session(words), prog_name="lmboot", standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort, Interrupted):
        sys.stderr.write("\nlmboot: interrupted\n")
        return Interrupted.exit_code
    except (BrokenPipeError, SystemExit):  # whoever read our output has seen enough; so says click
        _write_nowhere()
        return Interrupted.exit_code
    except Exception as error:  # the rest is ours to tell, or an error of ours
        if debug:
            raise
        known = _known(error)
        sys.stderr.write(told(known or _error_of_ours(error)))
        return known.exit_code if known else _ERROR_OF_OURS
    return int(result or 0)


def _known(error: Exception) -> LmbootError | None:
    """Return an error that a person can act on; None for one that is lmboot's own."""
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        _write_nowhere()
        return output_fault(error)
    return error if isinstance(error, LmbootError) else None


def _write_nowhere() -> None:
    """Have nothing more written to standard output, not even when the interpreter ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _error_of_ours(error: Exception) -> LmbootError:
    what = f"an error in lmboot itself: {type(error).__name__}: {error}"
    return LmbootError(what, hint="Please report it, with what --debug shows.")


def _open_streams() -> None:
    """Give a program that was started with closed streams some that lead nowhere.

    Else the next file that is opened would get their numbers, and be written to.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is not None:
            continue
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free: this one
        setattr(sys, name, open(os.devnull, "w" if number else "r", encoding="utf-8"))  # noqa: SIM115 open to the end


def _with_session(words: list[str]) -> list[str]:
    """Turn `lmboot` and `lmboot FILE` into the session that they mean without a window."""
    if words and not words[0].lower().endswith((".gguf", ".4dllm")):
        return words
    chosen = ["--model", *words] if words else []
    return ["boot", *chosen]
