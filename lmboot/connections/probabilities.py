"""What a server tells of the tokens that may come next, whatever it calls its fields; pure."""

from __future__ import annotations

import math
from typing import Any

from lmboot.connections.fields import mapping, rows
from lmboot.connections.interface import NextToken

MOST_CHARACTERS = 200  # of one token


def next_tokens_in(reply: object, most: int) -> list[NextToken]:
    """Return what a completion of one token was chosen from, the most probable first.

    Reads llama.cpp's `completion_probabilities` and both forms of OpenAI's `logprobs`. What is no
    text with a probability is left out; nothing where there is none.
    """
    found = [NextToken(text, p) for text, p in _pairs(mapping(reply))]
    return sorted(found, key=lambda token: -token.probability)[:most]


def _pairs(reply: dict[str, Any]) -> list[tuple[str, float]]:
    first = _first(reply.get("completion_probabilities"))
    logprobs = mapping(_first(reply.get("choices")).get("logprobs"))
    tokens = first.get("top_logprobs") or _first(logprobs.get("content")).get("top_logprobs")
    listed = [(each.get("token"), each.get("logprob")) for each in rows(tokens)]
    legacy = _first(logprobs.get("top_logprobs"))
    judged = (_pair(text, value) for text, value in listed or legacy.items())
    return [pair for pair in judged if pair is not None]


def _first(value: object) -> dict[str, Any]:
    return next(iter(rows(value)), {})


def _pair(text: object, logarithm: object) -> tuple[str, float] | None:
    if not isinstance(text, str) or isinstance(logarithm, bool):
        return None
    if not isinstance(logarithm, int | float) or not logarithm <= 0:
        return None
    return text[:MOST_CHARACTERS], math.exp(logarithm)
