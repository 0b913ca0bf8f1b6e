"""Functions of the language written in the language."""

import zmlx.intrinsics as tl
from zmlx.ops.device import device_function


@device_function
def softmax(x, dim=None, keep_dims=False, ieee_rounding=False):
    """exp(x - max) / sum(exp(x - max)) along `dim` (0 by default), in at least float32."""
    if dim is None:
        axis: tl.constexpr = 0
    else:
        axis: tl.constexpr = dim
    e = tl.exp(x - tl.max(x, axis, keep_dims=True))
    return tl.fdiv(e, tl.sum(e, axis, keep_dims=True), ieee_rounding)
