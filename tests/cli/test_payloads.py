from __future__ import annotations

import json

import pytest

from tests.cli.program import ECHO, Bench, payload


async def test_a_payload_goes_in_comes_out_and_is_forgotten(bench: Bench) -> None:
    file = bench.payload(ECHO + "# \u202e")
    imported = await bench.run("payloads", "import", file)
    (row,) = json.loads((await bench.run("payloads", "list", "--json")).out)
    short = row["sha256"][:12]
    shown = await bench.run("payloads", "show", short)
    as_json = await bench.run("payloads", "show", short, "--json")
    exported = await bench.run("payloads", "export", short, "out.json")
    again = await bench.run("payloads", "export", short, "out.json")
    removed = await bench.run("payloads", "remove", short)
    empty = await bench.run("payloads", "list")

    assert imported.code == 0
    assert (row["name"], row["agreed"], row["damaged"]) == ("test", False, False)
    assert row["sha256"] in shown.out
    assert "# <U+202E>" in shown.out
    assert json.loads(as_json.out)["entrypoint"] == "python main.py"
    out = (bench.folder / "out.json").read_text()
    assert (exported.code, json.loads(out)) == (0, json.loads(as_json.out))
    assert (again.code, removed.code) == (2, 0)
    assert empty.out == "no payload was kept yet\n"


async def test_what_is_exported_can_be_run(bench: Bench) -> None:
    await bench.run("payloads", "import", bench.payload(ECHO))
    (file,) = bench.kept
    exported = await bench.run("payloads", "export", file.stem)

    done = await bench.run(
        "boot", "--payload", "-", "--yes", "--json", lines=exported.out.encode()
    )

    assert (done.code, done.pane("rt")) == (0, ["ready"])
    assert done.event("payload")["text"].split()[1] == f"{file.stem[:12]}…"


async def test_a_payload_that_was_run_is_kept_with_its_model(bench: Bench) -> None:
    await bench.boot(ECHO)

    done = await bench.run("payloads", "list", "--json")

    (row,) = json.loads(done.out)
    assert (row["agreed"], row["files"]) == (False, 1)


async def test_a_bad_payload_is_not_imported(bench: Bench) -> None:
    text = payload(ECHO).replace("python main.py", "sh main.py")

    done = await bench.run("payloads", "import", "-", lines=text.encode())

    assert (done.code, bench.kept) == (1, [])


@pytest.mark.parametrize(
    ("command", "name"), [("show", "0000"), ("export", "../etc"), ("remove", "")]
)
async def test_a_hash_that_names_nothing_is_2(bench: Bench, command: str, name: str) -> None:
    done = await bench.run("payloads", command, name)

    assert done.code == 2
    assert "payloads list" in done.err


async def test_a_damaged_payload_is_listed_as_that(bench: Bench) -> None:
    await bench.run("payloads", "import", bench.payload(ECHO))
    (file,) = bench.kept
    file.write_text("{}")

    listed = await bench.run("payloads", "list")
    shown = await bench.run("payloads", "show", file.stem[:8])

    assert "damaged" in listed.out
    assert shown.code == 2
