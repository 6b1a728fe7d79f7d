"""What errors mean: the bodies that servers really send, each with the fault it becomes."""

from __future__ import annotations

import json

import pytest

from lmboot.connections.interface import Kind, Model
from lmboot.connections.refusals import (
    Report,
    fault_of,
    report_of_body,
    server_fault,
    step_down,
)
from lmboot.errors import (
    ConnectionFault,
    ContextOverflow,
    NoServer,
    NoSuchModel,
    NothingLoaded,
    ServerRefused,
    TokenRefused,
)


def model(kind: Kind = "lmstudio") -> Model:
    return Model("acme/tiny", "Tiny", "http://127.0.0.1:1234", kind)


def report(status: int, body: object) -> Report:
    data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    return report_of_body(data, status=status, secret="sk-secret")


def error(message: str, **more: object) -> dict[str, object]:
    return {"error": {"message": message, **more}}


CASES: list[tuple[int, object, type[ConnectionFault]]] = [
    (200, {"error": "Unexpected endpoint or method. (POST /chat/completions)"}, NoServer),
    (400, error("No models loaded. Please load a model in the developer page."), NothingLoaded),
    (404, error('Failed to load model "X". Error: Model loading aborted'), NothingLoaded),
    (503, error("Loading model", code=503, type="unavailable_error"), NothingLoaded),
    (400, error("Invalid model identifier"), NoSuchModel),
    (404, error('model "x" not found, try pulling it first'), NoSuchModel),
    (404, error("The model `x` does not exist.", type="NotFoundError"), NoSuchModel),
    (404, {"error": "model 'x' not found"}, NoSuchModel),
    (
        400,
        {
            "error": "Trying to keep the first 5000 tokens when context the overflows. However,"
            " the model is loaded with context length of only 4096"
        },
        ContextOverflow,
    ),
    (400, error("Cannot truncate prompt with n_keep (15028) >= n_ctx (7424)"), ContextOverflow),
    (
        400,
        error("request (3026 tokens) exceeds the available context size (256 tokens)"),
        ContextOverflow,
    ),
    (400, error("too long", type="exceed_context_size_error"), ContextOverflow),
    (400, error("too long", code="context_length_exceeded"), ContextOverflow),
    (
        400,
        {"object": "error", "message": "maximum context length is 4096 tokens"},
        ContextOverflow,
    ),
    (401, error("An LM Studio API token is required", code="invalid_api_key"), TokenRefused),
    (401, error("Invalid API Key", type="authentication_error", code=401), TokenRefused),
    (401, {"detail": "Invalid API key"}, TokenRefused),
    (401, "", TokenRefused),
    (403, "", TokenRefused),
    (403, "Invalid host header", NoServer),
    (404, error("File Not Found", type="not_found_error", code=404), NoServer),
    (404, "<html>nginx</html>", NoServer),
    (302, "", NoServer),
    (405, "", NoServer),
    (
        503,
        {"detail": {"msg": "Server is busy; please try again later.", "type": "b"}},
        ServerRefused,
    ),
    (422, {"detail": [{"loc": ["body"], "msg": "field required"}]}, ServerRefused),
    (400, {"error": "The model has crashed without additional information."}, ServerRefused),
    (500, "<html>oops</html>", ServerRefused),
    (500, "", ServerRefused),
]


@pytest.mark.parametrize(("status", "body", "fault"), CASES)
def test_every_known_error_becomes_its_fault_with_a_hint(
    status: int, body: object, fault: type[ConnectionFault]
) -> None:
    found = fault_of(report(status, body), model())

    assert type(found) is fault
    assert found.hint


@pytest.mark.parametrize(("status", "body", "_fault"), CASES)
def test_every_known_error_can_also_answer_a_list(
    status: int, body: object, _fault: object
) -> None:
    assert server_fault(report(status, body), "http://127.0.0.1:1234").hint


@pytest.mark.parametrize(
    ("kind", "remedy"),
    [
        ("lmstudio", "lms load acme/tiny --context-length 16384"),
        ("ollama", "OLLAMA_CONTEXT_LENGTH=16384"),
        ("llamacpp", "-c 16384"),
        ("koboldcpp", "--contextsize 16384"),
        ("vllm", "--max-model-len 16384"),
    ],
)
def test_an_overflow_names_the_remedy_in_the_servers_own_words(kind: Kind, remedy: str) -> None:
    found = fault_of(Report(400, "context window"), model(kind), needed_tokens=9_000)

    assert remedy in found.hint


def test_what_a_server_says_is_cut_and_stripped_of_control_characters() -> None:
    said = str(fault_of(report(500, error("\x1b[31mred\u202e\n" + "x" * 10_000)), model()))

    assert "red" in said
    assert not any(character in said for character in "\x1b\u202e\n")
    assert len(said) < 400


def test_a_token_that_a_server_repeats_is_not_shown() -> None:
    found = fault_of(report(401, error("Incorrect API key provided: sk-secret")), model())

    assert "sk-secret" not in str(found) + found.hint


SCHEMA_REFUSALS = [
    (400, "'response_format.type' must be 'json_schema'"),
    (400, "Failed to initialize samplers: failed to parse grammar"),
    (500, "1 validation error: response_format.type"),
    (422, "Extra inputs are not permitted"),
    (200, "ValueError: 'type' must be a string"),
    (501, "json_schema is not implemented"),
]


@pytest.mark.parametrize(("status", "text"), SCHEMA_REFUSALS)
def test_a_refused_schema_is_left_out(status: int, text: str) -> None:
    assert step_down(Report(status, text), sent_schema=True, sent_system=True) == "schema"


@pytest.mark.parametrize(("status", "text"), SCHEMA_REFUSALS)
def test_nothing_is_left_out_that_was_not_sent(status: int, text: str) -> None:
    assert step_down(Report(status, text), sent_schema=False, sent_system=False) is None


@pytest.mark.parametrize(
    "text",
    [
        'Error rendering prompt: "Only user and assistant roles are supported!"',
        "Only user, assistant and tool roles are supported, got system",
        "System role not supported",
        "Conversation roles must alternate user/assistant/user/assistant/...",
    ],
)
def test_a_refused_system_role_is_merged_away(text: str) -> None:
    assert step_down(Report(400, text), sent_schema=True, sent_system=True) == "system"


def test_a_server_that_cannot_stream_is_asked_with_less() -> None:
    said = Report(400, "'stream' is not supported")

    assert step_down(said, sent_schema=True, sent_system=False) == "extras"


@pytest.mark.parametrize(
    "said",
    [
        Report(401, "schema"),
        Report(404, "schema"),
        Report(400, "No models loaded"),
        Report(400, "the schema exceeds the available context size"),
        Report(500, "out of memory"),
    ],
)
def test_asking_again_is_not_tried_where_it_would_not_help(said: Report) -> None:
    assert step_down(said, sent_schema=True, sent_system=True) is None
