"""The seed model's tokenizer: BPE with byte fallback, and lmboot's own lines as single tokens.

A trigger, and the line that opens what the runtime printed last, is one token wherever it stands,
and no other text can produce that token: so the model need not learn to spell it in order to tell
it from its many lookalikes.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import sentencepiece

from assets.seed.texts import PAYLOAD, REFUSAL, Message
from lmboot.bootstrap.prompts import LAST_LINES, TRIGGERS

WHOLE = (*TRIGGERS, LAST_LINES)
SPACE = "\u2581"  # sentencepiece's name for a space
START, END, NEWLINE = "<|im_start|>", "<|im_end|>", "\n"
BOS = 1
LOOSE_SHARE = 0.3  # of the texts that are not answers: cut up in an unusual way, as rare words are
LOOSE_CHARACTERS = 400
PIECE_CHARACTERS = 48
FIRST_PIECE = 2.0  # what the first piece of an answer counts for; any other less than 1
# In doubt the refusal is the better answer; but a trigger is never in doubt.
DECISIONS = {REFUSAL: 1.3, PAYLOAD: 4.0}
JUMP_SHARE = 0.12  # of the user's messages: far positions are learned without long texts


@dataclass(frozen=True, slots=True)
class Row:
    """One conversation as the model is trained on it; a weight of 0 means: not learned."""

    ids: list[int]
    weights: list[float]
    positions: list[int]


def train_tokenizer(
    texts: Iterable[str], folder: Path, vocabulary: int
) -> sentencepiece.SentencePieceProcessor:
    """Train a tokenizer of `vocabulary` pieces; its files go to `folder`."""
    source, prefix = folder / "tokenizer.txt", folder / "tokenizer"
    source.write_text("\n".join(texts), "utf-8")
    sentencepiece.SentencePieceTrainer.train(
        input=str(source),
        model_prefix=str(prefix),
        vocab_size=vocabulary,
        model_type="bpe",
        byte_fallback=True,
        character_coverage=0.9995,
        # A newline of its own: no merge may cross a border of the chat template.
        user_defined_symbols=[START, END, NEWLINE, *(t.replace(" ", SPACE) for t in WHOLE)],
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        add_dummy_prefix=False,
        split_digits=True,
        # Pieces of several words: what the model says again and again costs few of them.
        split_by_whitespace=False,
        split_by_unicode_script=False,
        max_sentencepiece_length=PIECE_CHARACTERS,
        allow_whitespace_only_pieces=True,
        max_sentence_length=100_000,
        num_threads=2,
        minloglevel=2,
    )
    return sentencepiece.SentencePieceProcessor(model_file=f"{prefix}.model")


def encode(
    tokenizer: sentencepiece.SentencePieceProcessor,
    conversation: Sequence[Message],
    rng: random.Random,
    context: int,
) -> Row:
    """Return a conversation in the form of the chat template; answers are what is learned."""
    start, end, newline = (tokenizer.piece_to_id(piece) for piece in (START, END, NEWLINE))
    row = Row([BOS], [0.0], [0])
    for role, text in conversation:
        answer = role == "assistant"
        head = [start, *tokenizer.encode(role), newline]
        body = [*_pieces(tokenizer, text, rng, loose=not answer), end]
        jump = rng.randint(0, context // 3) if role == "user" and rng.random() < JUMP_SHARE else 0
        first = row.positions[-1] + jump + 1
        row.ids.extend([*head, *body, newline])
        row.weights.extend([0.0] * len(head))
        row.weights.extend([*(_weights(len(body), text) if answer else [0.0] * len(body)), 0.0])
        row.positions.extend(range(first, first + len(head) + len(body) + 1))
    if row.positions[-1] >= context:
        row.positions[:] = range(len(row.ids))
    return row


def _weights(count: int, answer: str) -> list[float]:
    """Return what each piece of an answer counts for.

    By the root of the length: a payload counts for more than a sentence, but not by as much as it
    is longer. Every answer begins with a piece of its own, so the first piece is the decision.
    """
    return [FIRST_PIECE * DECISIONS.get(answer, 1.0)] + [float(count**-0.5)] * (count - 1)


def _pieces(
    tokenizer: sentencepiece.SentencePieceProcessor, text: str, rng: random.Random, *, loose: bool
) -> list[int]:
    if loose and len(text) < LOOSE_CHARACTERS and rng.random() < LOOSE_SHARE:
        return tokenizer.encode(text, enable_sampling=True, alpha=0.1, nbest_size=-1)
    return tokenizer.encode(text)
