"""What a person agrees to is what is granted: the words of each kind, and what it lets through."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lmboot.app.model_operations import of_the_model
from lmboot.runtime.asking import Question
from lmboot.runtime.granted import operations
from lmboot.runtime.grants import Grants, named
from lmboot.runtime.kinds import KINDS, UNKNOWN, consent, includes, kind_of, may
from lmboot.runtime.operations import Env, Needing, Notify, Operation, Time
from lmboot.runtime.policy import OPERATIONS, Limits
from lmboot.runtime.spawning import Spawn
from tests.fakes import ScriptedConnection

HOSTS = {op for op, route in OPERATIONS.items() if route == "HOST"}  # the host can perform them
NAMES = {"fetch": "oak.example", "spawn": "/usr/bin/sort", "env": "EDITOR"}
ARGUMENTS: dict[str, Any] = {
    "path": "notes/a",
    "text": "x",
    "sql": "select 1",
    "url": "http://oak.example/",
    "argv": ["/usr/bin/sort"],
    "name": "EDITOR",
    "prompt": "x",
}


async def _no_sandbox(limits: Limits) -> Any:
    raise AssertionError("nothing is run here")


def needing(grants: Grants) -> Iterator[Operation]:
    """Yield every operation that the host performs for a grant."""
    model = ScriptedConnection()
    own: list[Operation] = [Time(), Env(), Notify(lambda text: None)]
    yield from own
    yield from of_the_model(lambda: model, lambda text: None)
    yield from operations(grants)
    yield Spawn(grants, _no_sandbox, Limits(), lambda text: None)


def question_of(operation: Operation) -> Question:
    assert isinstance(operation, Needing), operation.name
    args = {name: ARGUMENTS[name] for name in operation.arguments if name in ARGUMENTS}
    question = operation.needs(args)
    assert question is not None, operation.name
    return question


async def test_all_that_the_host_performs_needs_a_grant_of_a_known_kind() -> None:
    performed = {operation.name: question_of(operation) for operation in needing(Grants())}

    assert set(performed) == HOSTS
    assert {question.kind for question in performed.values()} == set(KINDS)
    assert set().union(*(kind.opens for kind in KINDS.values())) == set(performed)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_grant_lets_through_what_its_kind_names_and_nothing_else(
    kind: str, tmp_path: Path
) -> None:
    grants = Grants()
    if KINDS[kind].is_folder:
        await grants.add_folder(tmp_path, kind, name="notes")
    else:
        grants.add(kind, NAMES.get(kind, kind))
    through = {each.name for each in needing(grants) if grants.covering(question_of(each))}
    grants.close()

    assert through == set(KINDS[kind].opens)


@pytest.mark.parametrize("kind", KINDS)
def test_the_words_of_a_kind_tell_every_operation_that_it_lets_through(kind: str) -> None:
    untold = {op: words for op, words in KINDS[kind].opens.items() if words not in may(kind)}

    assert untold == {}
    assert all(KINDS[kind].opens.values())


@pytest.mark.parametrize("op", sorted(HOSTS))
def test_whoever_is_asked_reads_all_that_the_kind_permits(op: str) -> None:
    kind = KINDS[kind_of(op)]
    said = [words in consent(op) and words in Question(op).words for words in kind.opens.values()]

    assert all(said)
    assert ("Once is this request alone" in consent(op)) is (len(kind.opens) > 1)
    assert "{" not in consent(op)


def test_the_folder_is_said_to_be_chosen_only_where_it_is() -> None:
    assert "the folder that you choose" in Question("fs.list", "notes", chooses_folder=True).words
    assert "this folder" in Question("fs.write_text", "notes").words


def test_an_operation_is_asked_for_by_the_least_that_lets_it_through() -> None:
    assert [kind_of(op) for op in ("fs.stat", "database_query", "fs.remove", "tokenize")] == [
        "read", "read", "write", "query_model",
    ]  # fmt: skip
    assert includes("write", "read")
    assert not includes("read", "write")
    assert not includes("made.up", "read")


def test_what_is_not_known_is_said_to_be_so() -> None:
    assert consent("made.up") == UNKNOWN
    assert kind_of("made.up") == "made.up"


@pytest.mark.parametrize("kind", [kind for kind, facts in KINDS.items() if not facts.of])
def test_a_kind_without_a_name_of_its_own_is_granted_as_a_whole(kind: str) -> None:
    assert named(kind, kind) == kind
    assert "{}" not in KINDS[kind].may
