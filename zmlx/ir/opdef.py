"""The record that says everything about one operation, and the registry of records.

Nothing here names an op: the records are in `zmlx.ops`. A layer that needs to know something about an op asks its
record: `type_rule` (builder, verifier), `numpy` (interpreter, folding, generated tests), `spell` and `expand`
(targets), `grad` (autodiff), `traits` (passes).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from zmlx.ir.types import AnyType

if TYPE_CHECKING:
    from zmlx.ir.core import Block

TypeRule = Callable[[Sequence[Any], Mapping[str, Any], Sequence["Block"]], tuple[AnyType, ...]]

# The traits that layers above ask for. A misspelt trait is an error at import.
TRAITS = frozenset(
    {
        "elementwise",  # element i of the result depends on element i of the operands alone
        "pure",  # no effect; equal operands give equal results
        "commutative",  # of its first two operands
        "flushes",  # a GPU may give 0 for a result below the smallest normal float32
        "cheap",  # recomputing it costs less than keeping its result in memory
        "view",  # the result's elements are the operand's, elsewhere placed
        "reads",  # reads device memory
        "writes",  # writes device memory
        "atomic",  # reads and writes device memory in one step
        "terminator",  # ends a block
        "structured",  # has regions that are control flow
        "barrier",  # orders the memory accesses of the whole program
        "effect",  # must be kept though nothing uses it
        "transcendental",  # computed in float64 by the oracle and then rounded
        "constant",  # a literal
        "uniform",  # equal for all threads of a program
        "compare",  # the result is int1
        "exact",  # the float result is the correctly rounded one (or there is no rounding)
    }
)


@dataclass(frozen=True, eq=False)
class OpDef:
    """One operation.

    operands    names, for printing and docs; "x?" may be absent, "*xs" takes any number
    type_rule   (operand types, attrs, regions) -> result types; raises a CompilationError that says what is wrong
    numpy       (*operand arrays, **attrs) -> array: the reference semantics of elementwise and shape ops
    attrs       names of the attributes
    spell       {target | (target, dtype name | "float" | "int" | "uint" | "bool"): template}; {0}, {1} … are operands,
                {T} the result's type, {attr} an attribute. "c" is what all C-like targets share
    expand      (builder, op, operands) -> value: the decomposition for a target that cannot spell the op
    grad        (builder, op, operands, result gradients) -> operand gradients
    identity    the neutral element of the op as a reduction: (dtype) -> number
    ulp         promised accuracy in units in the last place, by dtype name; absent means correctly rounded
    samples     element values that the generated tests add to the special values
    doc         one paragraph for the language reference; empty for ops that users do not name
    """

    name: str
    operands: tuple[str, ...]
    type_rule: TypeRule
    numpy: Callable[..., Any] | None = None
    attrs: tuple[str, ...] = ()
    spell: Mapping[Any, str] = field(default_factory=dict)
    expand: Callable[..., Any] | None = None
    grad: Callable[..., Any] | None = None
    traits: frozenset[str] = frozenset()
    identity: Callable[[Any], Any] | None = None
    ulp: Mapping[str, float] = field(default_factory=dict)
    samples: tuple[float, ...] = ()
    doc: str = ""

    def __post_init__(self) -> None:
        unknown = self.traits - TRAITS
        if unknown:
            raise ValueError(f"op {self.name}: unknown traits {sorted(unknown)}")

    def __repr__(self) -> str:
        return f"<op {self.name}>"

    def has(self, trait: str) -> bool:
        return trait in self.traits

    @property
    def elementwise(self) -> bool:
        return "elementwise" in self.traits

    @property
    def pure(self) -> bool:
        return "pure" in self.traits


class Registry(dict[str, OpDef]):
    """Records by name."""

    def define(self, name: str, operands: Iterable[str], type_rule: TypeRule, *, traits: str = "", **rest: Any) -> OpDef:
        """Adds a record; `traits` is a string of trait names."""
        if name in self:
            raise ValueError(f"op {name} is defined twice")
        self[name] = OpDef(name, tuple(operands), type_rule, traits=frozenset(traits.split()), **rest)
        return self[name]
