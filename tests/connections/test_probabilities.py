"""What may come next, in every form in which servers tell it."""

from __future__ import annotations

import math
from typing import Any

import pytest

from lmboot.connections.interface import NextToken
from lmboot.connections.probabilities import next_tokens_in

HALF, TENTH = math.log(0.5), math.log(0.1)
LISTED = [{"token": " a", "logprob": TENTH}, {"token": " b", "logprob": HALF}]


@pytest.mark.parametrize(
    "reply",
    [
        {"completion_probabilities": [{"token": " b", "logprob": HALF, "top_logprobs": LISTED}]},
        {"choices": [{"logprobs": {"content": [{"top_logprobs": LISTED}]}}]},
        {"choices": [{"logprobs": {"top_logprobs": [{" a": TENTH, " b": HALF}]}}]},
    ],
    ids=["llama.cpp", "chat", "completions"],
)
def test_each_form_is_read_and_the_most_probable_goes_first(reply: dict[str, Any]) -> None:
    found = next_tokens_in(reply, 10)

    assert [token.text for token in found] == [" b", " a"]
    assert [token.probability for token in found] == pytest.approx([0.5, 0.1])
    assert next_tokens_in(reply, 1) == found[:1]


@pytest.mark.parametrize(
    "reply",
    [
        None, [], {}, {"choices": []}, {"choices": [{"logprobs": None}]}, {"choices": "x"},
        {"completion_probabilities": [{"top_logprobs": 3}]},
        {"completion_probabilities": [{"top_logprobs": [{"token": 1, "logprob": HALF}]}]},
        {"completion_probabilities": [{"top_logprobs": [{"token": "a", "logprob": 0.5}]}]},
        {"completion_probabilities": [{"top_logprobs": [{"token": "a", "logprob": True}]}]},
        {"completion_probabilities": [{"top_logprobs": [{"token": "a", "logprob": math.nan}]}]},
    ],
    ids=repr,
)  # fmt: skip
def test_what_is_no_probability_is_left_out(reply: object) -> None:
    assert next_tokens_in(reply, 10) == []


def test_a_token_that_can_not_come_has_the_probability_nothing() -> None:
    listed = [{"token": "a", "logprob": -math.inf}]

    found = next_tokens_in({"completion_probabilities": [{"top_logprobs": listed}]}, 10)

    assert found == [NextToken("a", 0.0)]
