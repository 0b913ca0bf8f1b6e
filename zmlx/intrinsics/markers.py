"""Names of the language that are no functions: compile-time constants, the two ranges, the NaN rule of extrema."""

from __future__ import annotations

import enum
import operator
from collections.abc import Callable
from typing import Any


class constexpr:
    """A compile-time constant. As an annotation (`BLOCK: tl.constexpr`) it marks a parameter or a name of a kernel;
    as a value (`SCALE = tl.constexpr(0.5)`) it makes a Python global readable in kernels."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value: Any = unwrap(value)

    def __class_getitem__(cls, item: Any) -> type[constexpr]:
        return cls  # constexpr[int] means constexpr

    def __repr__(self) -> str:
        return f"constexpr({self.value!r})"

    def __hash__(self) -> int:
        return hash(self.value)

    def __bool__(self) -> bool:
        return bool(self.value)

    def __index__(self) -> int:
        return operator.index(self.value)

    def __int__(self) -> int:
        return int(self.value)

    def __float__(self) -> float:
        return float(self.value)

    def __eq__(self, other: object) -> bool:
        return bool(self.value == unwrap(other))

    def __neg__(self) -> constexpr:
        return constexpr(-self.value)


def _arithmetic(name: str, reflected: bool) -> Callable[[constexpr, Any], constexpr]:
    f = getattr(operator, name)
    if reflected:
        return lambda self, other: constexpr(f(unwrap(other), self.value))
    return lambda self, other: constexpr(f(self.value, unwrap(other)))


for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "and_", "or_", "xor", "lshift", "rshift"):
    setattr(constexpr, f"__{_name.rstrip('_')}__", _arithmetic(_name, False))
    setattr(constexpr, f"__r{_name.rstrip('_')}__", _arithmetic(_name, True))
for _name in ("lt", "le", "gt", "ge"):
    setattr(constexpr, f"__{_name}__", _arithmetic(_name, False))


def unwrap(x: Any) -> Any:
    """The Python value in a constexpr, also inside tuples; anything else as it is."""
    if isinstance(x, constexpr):
        return x.value
    if type(x) is tuple or type(x) is list:
        return tuple(unwrap(i) for i in x)
    return x


class range:
    """`for i in tl.range(start, stop, step)`: a run-time loop, as Python's `range`; the step is positive.

    num_stages: 1 makes an iteration's loads in it; 2 and more make them ahead, by one iteration in registers, by
    num_stages - 1 in threadgroup memory where they feed tl.dot on CUDA. The other options are accepted for Triton's sake
    and change nothing.
    """

    def __init__(
        self,
        arg1: Any,
        arg2: Any = None,
        step: Any = None,
        num_stages: Any = None,
        loop_unroll_factor: Any = None,
        disallow_acc_multi_buffer: bool = False,
        flatten: bool = False,
        warp_specialize: bool = False,
        disable_licm: bool = False,
    ) -> None:
        self.start: Any = 0 if arg2 is None else arg1
        self.end: Any = arg1 if arg2 is None else arg2
        self.step = 1 if step is None else step
        self.num_stages = num_stages
        self.loop_unroll_factor = loop_unroll_factor


class static_range:
    """`for i in tl.static_range(start, stop, step)`: unrolled at compile time; i is a constexpr."""

    def __init__(self, arg1: Any, arg2: Any = None, step: Any = None) -> None:
        self.start: Any = 0 if arg2 is None else arg1
        self.end: Any = arg1 if arg2 is None else arg2
        self.step = 1 if step is None else step


class PropagateNan(enum.Enum):
    """What minimum, maximum and clamp do with NaN: NONE takes the other operand, ALL gives NaN."""

    NONE = 0
    ALL = 0xFFFF

    def __bool__(self) -> bool:
        return self is PropagateNan.ALL

    def __repr__(self) -> str:
        return f"PropagateNan.{self.name}"
