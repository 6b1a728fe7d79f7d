"""Writing the trained model as a GGUF."""

from __future__ import annotations

import hashlib
from pathlib import Path

import gguf
import numpy as np
import sentencepiece
from gguf import GGMLQuantizationType, TokenType

from assets.seed.model import NORM_EPSILON, ROPE_BASE, Size
from assets.seed.tokens import BOS, END, NEWLINE, SPACE, START, WHOLE
from lmboot.bootstrap.prompts import GUEST_API, PRIMER

KINDS = {  # name: quantisation, the number of it in general.file_type
    "f16": (GGMLQuantizationType.F16, 1),
    "q8_0": (GGMLQuantizationType.Q8_0, 7),
}

# ChatML, which every server knows. A "<|" that a user typed is parted, so that nobody can forge
# the border of a message.
TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' "
    "+ message['content']|replace('<|', '< |') + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def write_gguf(
    path: Path,
    tokenizer: sentencepiece.SentencePieceProcessor,
    tensors: dict[str, np.ndarray],
    size: Size,
    kind: str,
) -> None:
    """Write the model to `path`; vectors stay in float32, matrices become `kind`."""
    quantisation, file_type = KINDS[kind]
    writer = gguf.GGUFWriter(path, "llama")
    _add_description(writer, file_type)
    _add_architecture(writer, size)
    _add_tokenizer(writer, tokenizer)
    for name, array in tensors.items():
        if array.ndim == 1:
            writer.add_tensor(name, array)
        else:
            packed = gguf.quants.quantize(array, quantisation)
            writer.add_tensor(name, packed, raw_dtype=quantisation)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_description(writer: gguf.GGUFWriter, file_type: int) -> None:
    writer.add_name("lmboot-seed")
    writer.add_license("MIT")
    writer.add_description("The built-in demonstration of lmboot; it knows nothing else.")
    writer.add_file_type(file_type)
    writer.add_string("lmboot.primer_sha256", sha256(PRIMER))
    writer.add_string("lmboot.guest_api_sha256", sha256(GUEST_API))


def _add_architecture(writer: gguf.GGUFWriter, size: Size) -> None:
    writer.add_vocab_size(size.vocabulary)
    writer.add_context_length(size.context)
    writer.add_embedding_length(size.dim)
    writer.add_block_count(size.layers)
    writer.add_feed_forward_length(size.feed_forward)
    writer.add_head_count(size.heads)
    writer.add_head_count_kv(size.heads)
    writer.add_layer_norm_rms_eps(NORM_EPSILON)
    writer.add_rope_dimension_count(size.dim // size.heads)
    writer.add_rope_freq_base(ROPE_BASE)


def _add_tokenizer(
    writer: gguf.GGUFWriter, tokenizer: sentencepiece.SentencePieceProcessor
) -> None:
    ids = range(tokenizer.vocab_size())
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([_text(tokenizer, i).encode() for i in ids])
    writer.add_token_scores([tokenizer.get_score(i) for i in ids])
    writer.add_token_types([int(_kind(tokenizer, i)) for i in ids])
    writer.add_bos_token_id(BOS)
    writer.add_eos_token_id(tokenizer.piece_to_id(END))
    writer.add_unk_token_id(tokenizer.unk_id())
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(False)
    writer.add_add_space_prefix(False)
    writer.add_chat_template(TEMPLATE)


def _text(tokenizer: sentencepiece.SentencePieceProcessor, i: int) -> str:
    """Return a piece as llama.cpp wants it: tokens found in raw text hold plain spaces."""
    piece = tokenizer.id_to_piece(i)
    plain = piece.replace(SPACE, " ")
    return plain if plain in WHOLE else piece


def _kind(tokenizer: sentencepiece.SentencePieceProcessor, i: int) -> TokenType:
    text = _text(tokenizer, i)
    if tokenizer.is_unknown(i):
        return TokenType.UNKNOWN
    if tokenizer.is_control(i) or text in (START, END):
        return TokenType.CONTROL
    if tokenizer.is_byte(i):
        return TokenType.BYTE
    return TokenType.USER_DEFINED if text in (NEWLINE, *WHOLE) else TokenType.NORMAL
