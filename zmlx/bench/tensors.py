"""Arrays between MLX, NumPy and PyTorch: the same bits."""

from __future__ import annotations

from typing import Any

import mlx.core as mx
import numpy as np


def to_torch(value: Any, device: str) -> Any:
    """A tensor of PyTorch with an array's bits on a device ("cpu" or "cuda"); what is no array stays."""
    import torch

    if not isinstance(value, mx.array):
        return value
    half = value.dtype == mx.bfloat16  # which NumPy lacks
    bits = np.array(value.view(mx.uint16) if half and value.ndim else value.astype(mx.float32) if half else value)
    tensor = torch.from_numpy(bits)
    if half:
        tensor = tensor.view(torch.bfloat16) if value.ndim else tensor.to(torch.bfloat16)
    # On the CPU a copy: NumPy's arrays lie in large pages, MLX's do not.
    return tensor.clone() if device == "cpu" else tensor.to(device)


def leaves(result: Any) -> list[Any]:
    """The arrays or tensors of a call's result: one, or the members of a tuple or list."""
    return [leaf for part in result for leaf in leaves(part)] if isinstance(result, (tuple, list)) else [result]


def to_numpy(value: Any) -> np.ndarray:
    """The values of an array or tensor: floats as float64, the rest as they are."""
    if isinstance(value, np.ndarray):
        return value
    if isinstance(value, mx.array):
        with mx.stream(mx.cpu):
            return np.array(value.astype(mx.float64) if mx.issubdtype(value.dtype, mx.floating) else value)
    value = value.detach()
    return value.cpu().double().numpy() if value.is_floating_point() else value.cpu().numpy()
