"""The network: the `llama` architecture as llama.cpp computes it, small enough for a CPU."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

ROPE_BASE = 10_000.0
NORM_EPSILON = 1e-5


@dataclass(frozen=True, slots=True)
class Size:
    """The measures of the network; a head has dim / heads numbers."""

    vocabulary: int = 4096
    dim: int = 192
    layers: int = 5
    heads: int = 3
    feed_forward: int = 512
    context: int = 8192


class Norm(nn.RMSNorm):
    """RMSNorm in float32; the built-in forward is slow under autocast on a CPU."""

    def forward(self, x: Tensor) -> Tensor:
        wide = x.float()
        return (
            wide * torch.rsqrt((wide * wide).mean(-1, keepdim=True) + NORM_EPSILON) * self.weight
        )


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn neighbouring pairs (2i, 2i+1), as llama.cpp does: so nothing need be permuted."""
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack([even * cos - odd * sin, even * sin + odd * cos], -1).flatten(-2)


def linear(inputs: int, outputs: int) -> nn.Linear:
    return nn.Linear(inputs, outputs, bias=False)


class Block(nn.Module):
    """Attention and feed-forward; the attributes have the tensor names of a GGUF."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.heads = size.heads
        self.attn_norm, self.ffn_norm = Norm(size.dim), Norm(size.dim)
        self.attn_q = linear(size.dim, size.dim)
        self.attn_k = linear(size.dim, size.dim)
        self.attn_v = linear(size.dim, size.dim)
        self.attn_output = linear(size.dim, size.dim)
        self.ffn_gate = linear(size.dim, size.feed_forward)
        self.ffn_up = linear(size.dim, size.feed_forward)
        self.ffn_down = linear(size.feed_forward, size.dim)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        h = self.attn_norm(x)
        q, k, v = (
            project(h).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for project in (self.attn_q, self.attn_k, self.attn_v)
        )
        y = functional.scaled_dot_product_attention(
            rotate(q, cos, sin), rotate(k, cos, sin), v, is_causal=True
        )
        x = x + self.attn_output(y.transpose(1, 2).flatten(-2))
        h = self.ffn_norm(x)
        return x + self.ffn_down(functional.silu(self.ffn_gate(h)) * self.ffn_up(h))


class Model(nn.Module):
    """The whole network; it computes logits only where they are asked for."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.half = size.dim // size.heads // 2
        self.token_embd = nn.Embedding(size.vocabulary, size.dim)
        self.blk = nn.ModuleList(Block(size) for _ in range(size.layers))
        self.output_norm = Norm(size.dim)
        self.output = linear(size.dim, size.vocabulary)
        for p in self.parameters():
            if p.ndim == 2:
                inner = p.shape[0] != size.vocabulary
                nn.init.normal_(p, std=p.shape[1] ** -0.5 * 0.6 if inner else 0.02)

    def forward(self, ids: Tensor, positions: Tensor, where: Tensor) -> Tensor:
        """Return logits for the places `where` of the flattened batch."""
        frequency = ROPE_BASE ** (-torch.arange(self.half) / self.half)
        angle = positions[:, None, :, None] * frequency
        x, cos, sin = self.token_embd(ids), angle.cos().bfloat16(), angle.sin().bfloat16()
        for block in self.blk:
            x = block(x, cos, sin)
        return self.output(self.output_norm(x.flatten(0, 1)[where]))
