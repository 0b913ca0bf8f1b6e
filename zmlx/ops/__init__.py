"""The semantics of every operation: one record each, by theme. Importing this package fills `REGISTRY`."""

from zmlx.ops import arith, atomic, cast, compare, control, debug, dot, index, math, memory, reduce, shape, simt, simt_matrix, simt_mma
from zmlx.ops.registry import REGISTRY

__all__ = ["REGISTRY", "arith", "atomic", "cast", "compare", "control", "debug", "dot", "index", "math", "memory", "reduce", "shape"]
__all__ += ["simt", "simt_matrix", "simt_mma"]
