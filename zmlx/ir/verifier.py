"""Checks that a function is well formed, so that a broken pass is found where it broke.

It names no op: records say what types an op yields, the trait "terminator" says what ends a block. A terminator whose
record takes values (a yield) ends a region; one whose record takes none (a return) ends the kernel's body. The regions
of an op without results may do without, where the op's type rule does not ask what they yield.
"""

from __future__ import annotations

from zmlx.errors import CompilationError, InternalCompilerError
from zmlx.ir.core import Block, Function, Op, Value
from zmlx.ir.printer import MARK, print_function

CONTEXT = 6  # lines of IR shown on each side of the broken op


def excerpt(fn: Function, op: Op | None) -> str:
    """The IR lines around an op, which is marked by an arrow; the whole head of the function without one."""
    lines = print_function(fn, op).splitlines()
    at = next((i for i, line in enumerate(lines) if line.endswith(MARK)), 0)
    first, last = max(0, at - CONTEXT), min(len(lines), at + CONTEXT + 1)
    shown = lines[:1] * (first > 0) + ["  …"] * (first > 1) + lines[first:last] + ["  …"] * (last < len(lines))
    return "\n".join("  " + line for line in shown)


class _Verifier:
    def __init__(self, fn: Function) -> None:
        self.fn = fn
        self.visible: set[Value] = set()
        self.seen: set[Op] = set()

    def fail(self, what: str, op: Op | None = None) -> InternalCompilerError:
        where = f" (for the kernel's line {op.loc})" if op is not None and op.loc is not None else ""
        subject = f"op {op.name}{where}" if op is not None else "the function"
        return InternalCompilerError(
            f"broken IR in kernel {self.fn.name}: {subject}: {what}.\n\n{excerpt(self.fn, op)}\n\n"
            "This is a bug of zmlx, not of the kernel: please report it with the text above."
        )

    def function(self) -> None:
        if [p.value for p in self.fn.params] != self.fn.body.args:
            raise self.fail("the parameters are not the arguments of the body")
        self.block(self.fn.body, None)

    def define(self, v: Value, op: Op | None) -> None:
        if v in self.visible:
            raise self.fail(f"{v!r} is defined twice", op)
        self.visible.add(v)

    def block(self, block: Block, owner: Op | None) -> None:
        defined = list(block.args)
        for v in block.args:
            if v.op is not None:
                raise self.fail(f"the block argument {v!r} claims to be a result of {v.op!r}", owner)
            self.define(v, owner)
        last = block.ops[-1] if block.ops else None
        if last is None or not last.has("terminator"):
            if owner is None or owner.results:
                raise self.fail("a block does not end in a terminator", last or owner)
        elif bool(last.defn.operands) != (owner is not None):
            raise self.fail("the terminator does not fit: a region ends in a yield, a kernel in a return", last)
        for op in block.ops:
            if op in self.seen:
                raise self.fail("it stands in two places", op)
            self.seen.add(op)
            self.op(op, op is last)
            defined += op.results
        self.visible.difference_update(defined)

    def op(self, op: Op, last: bool) -> None:
        if op.has("terminator") and not last:
            raise self.fail("a terminator stands in the middle of a block", op)
        for i, v in enumerate(op.operands):
            if v not in self.visible:
                raise self.fail(f"operand {i}, {v!r}, is not defined here", op)
        unknown = set(op.attrs) - set(op.defn.attrs)
        if unknown:
            raise self.fail(f"unknown attributes {sorted(unknown)}", op)
        for region in op.regions:
            self.block(region, op)
        try:
            types = tuple(op.defn.type_rule([v.type for v in op.operands], op.attrs, op.regions))
        except CompilationError as e:
            raise self.fail(f"its type rule refuses it: {e.message}", op) from e
        except (KeyError, IndexError, ValueError, TypeError, AttributeError, AssertionError) as e:
            raise self.fail(f"its type rule fails: {type(e).__name__}: {e}", op) from e
        if types != tuple(r.type for r in op.results):
            got, want = (", ".join(map(str, ts)) or "nothing" for ts in ([r.type for r in op.results], types))
            raise self.fail(f"its results have type {got}, its type rule says {want}", op)
        for v in op.results:
            if v.op is not op:
                raise self.fail(f"its result {v!r} does not point back to it", op)
            self.define(v, op)


def verify(fn: Function) -> None:
    """Raises InternalCompilerError, naming the op and showing the IR around it, if `fn` is not well formed.

    Checked: every operand is defined before its use in an enclosing scope, every value once; each op's type rule,
    run again, gives the types of its results; blocks end in the right terminator and have none elsewhere; the
    parameters are the body's arguments. Works on Tile IR and SIMT IR alike.
    """
    _Verifier(fn).function()
