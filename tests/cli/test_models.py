from __future__ import annotations

import json

from tests.cli.program import Bench
from tests.connections.lookalike import Lookalike, Served

KEYS = [
    "id", "name", "server", "kind", "state",
    "context", "quantization", "architecture", "size_bytes",
]  # fmt: skip


async def test_a_servers_models_are_rows_of_the_contract(bench: Bench) -> None:
    async with Lookalike() as server:
        done = await bench.run("models", "--server", f"{server.base}/v1/", "--json")

    rows = json.loads(done.out)
    assert (done.code, done.err) == (0, "")
    assert [list(row) for row in rows] == [KEYS, KEYS]
    assert rows[0] == {
        "id": "acme/tiny-4b",
        "name": "tiny-4b",
        "server": server.base,
        "kind": "lmstudio",
        "state": "loaded",
        "context": 32_768,
        "quantization": "Q4_K_M",
        "architecture": "qwen3",
        "size_bytes": 2_500_000_000,
    }
    assert (rows[1]["state"], rows[1]["context"]) == ("available", 262_144)


async def test_the_seed_model_is_always_there_unless_a_server_is_named(bench: Bench) -> None:
    alone = json.loads((await bench.run("models", "--json")).out)
    async with Lookalike() as server:
        bench.env["LLM_BASE_URL"] = server.base
        beside = json.loads((await bench.run("models", "--json")).out)
        named = json.loads((await bench.run("models", "--server", server.base, "--json")).out)

    (seed,) = [row for row in alone if row["kind"] == "seed"]
    assert (seed["id"], seed["server"], seed["state"]) == ("seed", None, "available")
    assert [row["kind"] for row in beside] == ["lmstudio", "lmstudio", "seed"]
    assert [row["kind"] for row in named] == ["lmstudio", "lmstudio"]


async def test_as_text_it_is_a_table(bench: Bench) -> None:
    async with Lookalike(models=[Served("acme/größe")]) as server:
        done = await bench.run("models", "--server", server.base)

    header, row = done.out.splitlines()
    assert header.split() == ["MODEL", "STATE", "QUANT", "SIZE", "CONTEXT", "SERVER"]
    assert row.split()[:2] == ["acme/größe", "loaded"]
    assert "32,768" in row


async def test_a_named_server_that_fails_is_3(bench: Bench) -> None:
    nobody = await bench.run("models", "--server", "http://127.0.0.1:9", "--json")
    async with Lookalike(token="sk-lm-1") as server:
        locked = await bench.run("models", "--server", server.base, "--json")
        bench.env["LLM_API_KEY"] = "sk-lm-1"
        opened = await bench.run("models", "--server", server.base, "--json")

    assert (nobody.code, locked.code, opened.code) == (3, 3, 0)
    assert nobody.out == locked.out == ""
    assert "token" in locked.err


async def test_an_address_that_is_none_is_2(bench: Bench) -> None:
    done = await bench.run("models", "--server", "ftp://x")

    assert (done.code, done.out) == (2, "")
