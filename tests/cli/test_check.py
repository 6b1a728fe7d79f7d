from __future__ import annotations

import json

import pytest

from tests.cli.program import ECHO, Bench, payload


async def test_a_good_reply_has_the_shape_of_the_contract(bench: Bench) -> None:
    text = f"Sure:\n```json\n{payload(ECHO, version=1, mood='fine')[:-1]},}}\n```"

    done = await bench.run("check", "-", "--json", lines=text.encode())

    found = json.loads(done.out)
    assert done.code == 0
    assert list(found) == ["ok", "problems", "repairs", "notes", "payload"]
    assert (found["ok"], found["problems"]) == (True, [])
    assert {each["code"] for each in found["repairs"]} == {"trailing_comma", "number_as_text"}
    assert all(set(each) == {"code", "where"} for each in found["repairs"])
    (note,) = found["notes"]
    assert set(note) == {"code", "where", "message"}
    assert (note["code"], note["where"]) == ("unknown_key", "manifest.mood")
    assert found["payload"]["manifest"] == {"name": "test", "version": "1"}
    assert set(found["payload"]) == {"manifest", "files", "entrypoint"}


@pytest.mark.parametrize(
    ("text", "code", "where"),
    [
        ("", "empty", "reply"),
        ("I'd rather not.", "no_object", "reply"),
        (payload(ECHO)[:-3], "truncated", None),
        (payload(ECHO).replace('"manifest"', "'manifest'"), "syntax", None),
        (payload({"../a.py": ""}), "path", "files[0].path"),
        (payload("", limits={"memory_mb": -1}), "limit", "manifest.limits.memory_mb"),
        ("\udcff", "text", "reply"),
    ],
)
async def test_a_bad_reply_is_1_with_its_problems(
    bench: Bench, text: str, code: str, where: str | None
) -> None:
    data = text.encode(errors="surrogateescape")

    done = await bench.run("check", "-", "--json", lines=data)

    found = json.loads(done.out)
    assert (done.code, found["ok"], found["payload"]) == (1, False, None)
    problem = found["problems"][0]
    assert set(problem) == {"code", "where", "message"}
    assert (problem["code"], where or problem["where"]) == (code, problem["where"])


async def test_in_words_it_says_the_same(bench: Bench) -> None:
    good = await bench.run("check", bench.payload("import numpy\n" + "x" * 9))
    bad = await bench.run("check", "-", lines=["no\x1b[31m"])

    assert good.code == 0
    assert "numpy" in good.out
    assert good.out.splitlines()[-1].startswith("payload ")
    assert (bad.code, bad.out.splitlines()[-1]) == (1, "refused")
    assert "\x1b" not in bad.out


@pytest.mark.parametrize("file", ["no/such/file", "."])
async def test_a_file_that_can_not_be_read_is_2(bench: Bench, file: str) -> None:
    done = await bench.run("check", file, "--json")

    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"lmboot: {file} can't be read")


async def test_nothing_is_written_or_run(bench: Bench) -> None:
    before = sorted(bench.folder.parent.rglob("*"))
    file = bench.payload("open('/tmp/ran', 'w')")

    await bench.run("check", file)

    left = set(bench.folder.parent.rglob("*")) - set(before)
    assert {str(path) for path in left} == {file}


async def test_a_reply_of_16_mebibytes_is_judged_and_one_more_byte_is_too_big(
    bench: Bench,
) -> None:
    text = payload("x" * (4 << 20))
    room = (16 << 20) - len(text)

    fits = await bench.run("check", "-", "--json", lines=(text + " " * room).encode())
    over = await bench.run("check", "-", "--json", lines=(text + " " * (room + 1)).encode())

    assert fits.code == 0
    assert [each["code"] for each in json.loads(over.out)["problems"]] == ["too_big"]
