from __future__ import annotations

import json

from lmboot.bootstrap import prompts
from tests.cli.program import Bench


async def test_the_primer_comes_in_three_forms(bench: Bench) -> None:
    text = await bench.run("primer")
    modelfile = await bench.run("primer", "--format", "modelfile")
    as_json = await bench.run("primer", "--format", "json")
    wrong = await bench.run("primer", "--format", "yaml")

    assert text.out == f"{prompts.PRIMER}\n\n{prompts.TRIGGER}\n"
    assert modelfile.out == prompts.modelfile()
    assert json.loads(as_json.out)["triggers"] == list(prompts.TRIGGERS)
    assert json.loads(as_json.out)["schema"] == prompts.SCHEMA
    assert [each.code for each in (text, modelfile, as_json, wrong)] == [0, 0, 0, 2]


async def test_usage_is_told_by_every_command(bench: Bench) -> None:
    for words in ("--help", "boot --help", "payloads --help", "check -h"):
        done = await bench.run(*words.split())
        assert (done.code, done.err) == (0, "")
        assert "Usage: lmboot" in done.out
    unknown = await bench.run("frobnicate")
    version = await bench.run("--version")

    assert unknown.code == 2
    assert version.out.startswith("lmboot ")
