"""What a user of PyTorch would call instead of a catalog entry, by the entry's name; signatures follow the entries' wrappers.

`fused` forms are written in several operations, so they are timed as inductor compiles them; the others are one call of a
library (cuBLAS, cuDNN, PyTorch's own kernels) and are timed eagerly on a GPU. On the CPU all are compiled by inductor.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Form:
    """A function of PyTorch for an entry; `deterministic` is False where it draws numbers of its own."""

    call: Callable[..., Any]
    fused: bool = False
    deterministic: bool = True


def forms() -> dict[str, Form]:
    """Every form by the entry's name. Raises ImportError without PyTorch."""
    import torch
    import torch.nn.functional as F

    def linear(x: Any, w: Any, bias: Any = None, activation: str | None = None, transposed: bool = False) -> Any:
        out = F.linear(x, w if transposed else w.T, bias)
        if activation in ("gelu", "gelu_tanh"):
            return F.gelu(out, approximate="tanh" if activation == "gelu_tanh" else "none")
        return F.relu(out) if activation == "relu" else out

    def attention(q: Any, k: Any, v: Any, scale: float | None = None, causal: bool = False) -> Any:
        groups = q.shape[1] != k.shape[1]
        return F.scaled_dot_product_attention(q, k, v, scale=scale, is_causal=causal, enable_gqa=groups)

    def rms_norm(x: Any, weight: Any = None, eps: float = 1e-5) -> Any:
        return F.rms_norm(x, x.shape[-1:], weight, eps)

    def layer_norm(x: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
        return F.layer_norm(x, x.shape[-1:], weight, bias, eps)

    def add_rms_norm(x: Any, residual: Any, weight: Any, eps: float = 1e-5) -> Any:
        total = x + residual
        return F.rms_norm(total, x.shape[-1:], weight, eps), total

    def cross_entropy(logits: Any, targets: Any, ignore_index: int = -100) -> Any:
        return F.cross_entropy(logits, targets.long(), ignore_index=ignore_index, reduction="none")

    def rope(x: Any, dims: int, traditional: bool = False, base: float = 10000.0, scale: float = 1.0, offset: int = 0) -> Any:
        positions = (torch.arange(x.shape[-2], device=x.device, dtype=torch.float32) + offset) * scale
        pairs = torch.arange(dims // 2, device=x.device, dtype=torch.float32)
        angles = positions[:, None] * torch.exp2(pairs * (-2 * math.log2(base) / dims))
        cos, sin = torch.cos(angles), torch.sin(angles)
        left, right = (x[..., 0:dims:2], x[..., 1:dims:2]) if traditional else (x[..., : dims // 2], x[..., dims // 2 : dims])
        turned = [left * cos - right * sin, left * sin + right * cos]
        joined = torch.stack(turned, dim=-1).flatten(-2) if traditional else torch.cat(turned, dim=-1)
        return torch.cat([joined.to(x.dtype), x[..., dims:]], dim=-1)

    return {
        "add": Form(torch.add),
        "softmax": Form(lambda x: F.softmax(x, dim=-1)),
        "rms_norm": Form(rms_norm, fused=True),
        "layer_norm": Form(layer_norm),
        "add_rms_norm": Form(add_rms_norm, fused=True),
        "gelu": Form(lambda x, approximate="none": F.gelu(x, approximate=approximate)),
        "swiglu": Form(lambda gate, up: F.silu(gate) * up, fused=True),
        "linear": Form(linear),
        "flash_attention": Form(attention),
        "sum": Form(lambda x: torch.sum(x, dim=-1)),
        "gather_add": Form(lambda x, table, index: x + table[index], fused=True),
        "rope": Form(rope, fused=True),
        "logsumexp": Form(lambda x: torch.logsumexp(x, dim=-1), fused=True),
        "cumsum": Form(lambda x: torch.cumsum(x, dim=-1)),
        "dropout": Form(lambda x, p=0.5, seed=0: F.dropout(x, p), deterministic=False),
        "cross_entropy": Form(cross_entropy, fused=True),
        "topk": Form(lambda x, k=8: tuple(torch.topk(x, k, dim=-1))),
    }
