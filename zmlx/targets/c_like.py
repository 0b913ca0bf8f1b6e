"""Prints SIMT IR as C-like text; what differs between MSL, CUDA C++ and host C++ is in a `Dialect`.

Values that the user named, and those used more than once, become variables; other pure expressions are written where
they are used.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

from zmlx import dtypes as dt
from zmlx.dtypes import DType
from zmlx.errors import InternalCompilerError, Loc
from zmlx.ir.core import Block, Function, Op, Value
from zmlx.ir.types import ArrayType, Pointer, Type
from zmlx.targets.c_text import RESERVED, SINGLE, WORD, atom, float32_text, slots, wrapped
from zmlx.targets.legalize import spelling
from zmlx.targets.target import Target

MOST_UNROLLED = 64  # iterations
LONGEST = 100  # characters of an expression that is still written inside another


class CPrinter:
    """One kernel's text. Subclasses give address spaces, casts and the signature."""

    indent = "    "
    unroll = "#pragma unroll"
    const_inputs = True

    def __init__(self, fn: Function, target: Target) -> None:
        self.fn, self.target = fn, target
        self.lines: list[str] = []
        self.where: list[Loc | None] = []  # the user's place behind each line
        self.loc: Loc | None = None
        self.depth = 1
        self.names: dict[Value, str] = {}
        self.taken: set[str] = set(RESERVED)
        self.numbered: dict[str, int] = {}  # the last number given to a name that several values want
        self.kinds: dict[Any, str] = {}  # C types, by element type
        self.handlers: dict[str, Callable[[Op], None] | None] = {}  # the methods `op_…`, found once
        self.pending: dict[Value, tuple[str, bool]] = {}  # expressions not written yet, and whether they read arrays
        self.uses: dict[Value, int] = {}
        self.home: dict[Value, Block] = {}
        self.shared_bytes = 0
        self.scratch_bytes = 0
        self._count(fn.body)

    def _count(self, block: Block) -> None:
        uses, home = self.uses, self.home
        for op in block.ops:
            for v in op.operands:
                # From an inner block it counts twice: not to be written there again and again.
                more = 1 if v in home and home[v] is block else 2
                uses[v] = uses[v] + more if v in uses else more
            for v in op.results:
                home[v] = block
            for region in op.regions:
                self._count(region)

    # Names and types

    def name(self, v: Value, hint: str = "") -> str:
        base = v.name or hint or "v"
        if not base.isidentifier() or not base.isascii():
            base = re.sub(r"\W", "_", base, flags=re.ASCII)
            base = "_" + base if base[0].isdigit() else base
        if base.startswith("zm_"):
            base = "u_" + base
        name = self.names[v] = self.fresh(base)
        return name

    def ctype(self, elem: Any) -> str:
        found = self.kinds.get(elem)
        if found is None:
            found = self.kinds[elem] = self.pointer_type(elem) if isinstance(elem, Pointer) else self.target.spelling(elem)
        return found

    def pointer_type(self, elem: Pointer) -> str:
        return f"{self.ctype(elem.elem)}*"

    def literal(self, value: Any, d: DType) -> str:
        """A number as C text of exactly that value."""
        if d.is_bool:
            return "true" if value else "false"
        if d.is_int:
            low, high = d.range()
            n = int(value)
            n = (n - low) % (1 << d.bits) + low if not low <= n <= high else n
            if d.bits < 32:
                return f"{self.cast_text(str(n), d)}"
            suffix = ("u" if not d.is_signed else "") + (self.long_suffix if d.bits == 64 else "")
            if n == low and d.is_signed:
                return f"({n + 1}{suffix} - 1)"
            return f"{n}{suffix}" if n >= 0 else f"({n}{suffix})"
        number = float(value)
        if d.is_half:
            return self.cast_call(self.literal(number, dt.float32), dt.float32, d, "rtne")
        if math.isnan(number) or math.isinf(number):
            return self.special(number, d)
        if d is dt.float64:
            return repr(number) if number >= 0 and math.copysign(1, number) > 0 else f"({number!r})"
        text = float32_text(number)
        return f"{text}f" if math.copysign(1, number) > 0 else f"({text}f)"

    long_suffix = "ll"

    def special(self, number: float, d: DType) -> str:
        text = "__builtin_nan" if math.isnan(number) else "__builtin_inf"
        argument = '""' if math.isnan(number) else ""
        call = f"{text}{'' if d is dt.float64 else 'f'}({argument})"
        return f"(-{call})" if number < 0 else call

    def cast_text(self, x: str, d: DType) -> str:
        return f"({self.ctype(d)}){atom(x)}"

    def cast_call(self, x: str, source: DType, to: DType, rounding: str) -> str:
        """A conversion; plain C where C's is the language's."""
        if to is dt.int1 and not source.is_half:
            return f"{atom(x)} != 0"
        if rounding == "rtz" and source.is_float and to.is_float and to.bits < source.bits:
            return f"zm_cast_rtz<{self.ctype(to)}>({x})"
        if source.is_half or to.is_half or (source.is_float and to.is_int):
            return f"zm_cast<{self.ctype(to)}>({x})"
        return self.cast_text(x, to)

    # Statements

    def line(self, text: str) -> None:
        self.lines.append(self.indent * self.depth + text)
        self.where.append(self.loc)

    def flush(self, keep: Op | None = None) -> None:
        """Writes pending expressions that read arrays, before something may change these."""
        if not self.pending:
            return
        used = set(keep.operands) if keep is not None else set()
        for v in [v for v, (_, reads) in self.pending.items() if reads and v not in used]:
            text, _ = self.pending.pop(v)
            self.declare(v, text)

    def declare(self, v: Value, text: str) -> None:
        t = v.type
        kind = "auto" if isinstance(t, Type) and t.is_pointer else self.ctype(t.elem)
        outer = self.loc
        if v.op is not None and v.op.loc is not None:
            self.loc = v.op.loc  # written late, or for another op's sake
        self.line(f"{kind} {self.name(v)} = {text};")
        self.loc = outer

    def use(self, v: Value) -> str:
        if v in self.pending:
            return self.pending.pop(v)[0]
        if v in self.names:
            return self.names[v]
        if v.op is not None and "constant" in v.op.traits:
            return self.literal(v.op.attrs["value"], v.op.attrs["type"])
        where = f"{self.fn.name}: a value of type {v.type}"
        raise InternalCompilerError(f"{where} is used before it is written; please report this bug of zmlx")

    def reads(self, op: Op) -> bool:
        pending = self.pending
        return True in [pending[v][1] for v in op.operands if v in pending]

    def block(self, block: Block) -> None:
        self.depth += 1
        for op in block.ops:
            self.op(op)
        self.depth -= 1

    def op(self, op: Op) -> None:
        outer, name = self.loc, op.name
        if op.loc is not None:
            self.loc = op.loc
        if name not in self.handlers:
            self.handlers[name] = getattr(self, "op_" + name, None)
        handler = self.handlers[name]
        if handler is not None:
            handler(op)
        elif "constant" in op.traits:
            pass
        elif op.results and "pure" in op.traits:
            self.expression(op)
        elif op.results:  # a shuffle: every thread must reach it, so it is never written inside another expression
            self.flush(op)
            self.declare(op.results[0], self.template(op))
        else:
            self.flush(op)
            text = self.template(op)
            if text:
                self.line(text + ";")
        self.loc = outer

    def expression(self, op: Op) -> None:
        reads = self.reads(op)
        text = self.template(op)
        self.result(op.results[0], text, reads)

    def result(self, v: Value, text: str, reads: bool) -> None:
        """Keeps an expression for its one use, or makes it a variable."""
        count = self.uses.get(v, 0)
        if count == 0 and v.op is not None and "pure" in v.op.traits:
            return
        named = v.name and (v.op is None or v.op.name not in ("get", "thread_id"))
        if count == 1 and not named and len(text) <= LONGEST:
            self.pending[v] = (text, reads)
        else:
            self.declare(v, text)

    def read_first(self, values: list[Value]) -> None:
        """On the host, elements of arrays become variables before one of them is chosen: g++ 12 at -O3 vectorises
        `c ? a[i] : b[j]` in a loop that also writes a[i] wrongly, and both compilers do better without the branch."""
        for v in values if not self.target.is_simt else ():
            if self.pending.get(v, ("", False))[1]:
                self.declare(v, self.pending.pop(v)[0])

    def template(self, op: Op) -> str:
        if op.name == "cast":
            source, to = op.operands[0].type.dtype, op.attrs["to"]  # type: ignore[union-attr]
            return self.cast_call(self.use(op.operands[0]), source, to, op.attrs.get("rounding", "rtne"))
        if op.name == "select":
            self.read_first(op.operands[1:])
            c, x, y = (atom(self.use(v)) for v in op.operands)
            return f"{c} ? {x} : {y}"
        spell = spelling(op, self.target)
        if spell is None:
            raise InternalCompilerError(f"{op.name} was not legalised for {self.target.name}; please report this bug of zmlx")
        operands = list(map(self.use, op.operands))
        repeats, bare = slots(spell, len(operands))
        if repeats:
            operands = [self.once(v, text) for v, text in zip(op.operands, operands, strict=True)]
        args = [x if b else atom(x) for x, b in zip(operands, bare, strict=True)]
        attrs = op.attrs
        if "axis" in attrs:
            attrs = attrs | {"axis": self.axis_suffix(attrs["axis"])}
        kind = self.ctype(op.results[0].type.elem) if op.results else ""
        text = spell.format(*args, T=kind, **attrs)
        if op.results and "elementwise" in op.traits:
            d = op.results[0].type.elem
            narrow = d.bits < 32 and isinstance(d, DType) and d.is_int and not d.is_bool
            if narrow and not (text.startswith(kind) and wrapped(text[len(kind) :])):
                text = self.cast_text(f"({text})", d)  # type: ignore[arg-type]  # C computes in int
        return text

    def axis_suffix(self, axis: int) -> str:
        return "." + "xyz"[axis]

    def once(self, v: Value, text: str) -> str:
        """An operand that a template repeats: a variable unless it is one already."""
        if SINGLE.fullmatch(text):
            return text
        self.declare(v, text)
        return self.names[v]

    # Arrays

    def op_alloc(self, op: Op) -> None:
        v = op.results[0]
        t = v.type
        assert isinstance(t, ArrayType)
        kind = self.ctype(t.elem)
        if t.space == "shared":
            size = max(1, t.elem.bits // 8) * t.size
            self.shared_bytes = max(self.shared_bytes, op.attrs["offset"] + size)
            space = self.shared_space
            self.line(f"{space}{kind}* {self.name(v)} = ({space}{kind}*)(zm_shared + {op.attrs['offset']});")
        elif t.size == 1:
            self.line(f"{kind} {self.name(v)};")
        else:
            self.register_array(v, t, kind)

    shared_space = ""

    def register_array(self, v: Value, t: ArrayType, kind: str) -> None:
        self.line(f"{kind} {self.name(v)}[{t.size}];")

    def element(self, array: Value, index: Value) -> str:
        t = array.type
        assert isinstance(t, ArrayType)
        at = self.use(index)
        return self.names[array] if t.size == 1 and t.space != "shared" else f"{self.names[array]}[{at}]"

    def op_get(self, op: Op) -> None:
        self.result(op.results[0], self.element(*op.operands), True)

    def op_set(self, op: Op) -> None:
        self.flush(op)
        value = self.use(op.operands[2])
        self.line(f"{self.element(op.operands[0], op.operands[1])} = {value};")

    # Memory

    def address(self, v: Value) -> str:
        """What stands for the element behind a pointer: `base[offset]` where the sum has not been written yet."""
        text = self.use(v)
        if v.op is not None and v.op.name == "addptr" and v not in self.names:
            base, _, offset = text.partition(" + ")
            if offset and WORD.fullmatch(base):
                return f"{base}[{offset[1:-1] if wrapped(offset) else offset}]"
        return f"*{atom(text)}" if not WORD.fullmatch(text) else f"*{text}"

    def op_load(self, op: Op) -> None:
        place = self.address(op.operands[0])
        if len(op.operands) == 3:
            self.read_first(op.operands[2:])
            mask, other = (atom(self.use(v)) for v in op.operands[1:])
            place = f"{mask} ? {place} : {other}"
        self.result(op.results[0], place, True)

    def op_store(self, op: Op) -> None:
        self.flush(op)
        place, value = self.address(op.operands[0]), self.use(op.operands[1])
        guard = f"if ({self.use(op.operands[2])}) " if len(op.operands) == 3 else ""
        self.line(f"{guard}{place} = {value};")

    def op_vload(self, op: Op) -> None:
        self.flush(op)
        pointer, width = self.use(op.operands[0]), op.attrs["width"]
        at = self.use(op.operands[2]) if len(op.operands) > 2 else str(op.attrs["offset"] or "")
        array = self.names[op.operands[1]] + (f" + {at}" if at else "")
        if op.attrs.get("shifted"):
            first, last = (self.use(v) for v in op.operands[3:])
            self.line(f"zm_vload_shifted<{width}>({array}, {pointer}, {first}, {last});")
        else:
            self.line(f"zm_vload<{width}>({array}, {pointer});")

    def op_vstore(self, op: Op) -> None:
        self.flush(op)
        pointer = self.use(op.operands[0])
        array = self.names[op.operands[1]] + (f" + {op.attrs['offset']}" if op.attrs["offset"] else "")
        self.line(f"zm_vstore<{op.attrs['width']}>({pointer}, {array});")

    def op_vstore_shifted(self, op: Op) -> None:
        self.flush(op)
        pointer, whole, attrs = self.use(op.operands[0]), self.use(op.operands[2]), op.attrs
        sizes = f"{attrs['width']}, {attrs['count']}, {attrs['lanes']}"
        self.declare(op.results[0], f"zm_vstore_shifted<{sizes}>({pointer}, {self.names[op.operands[1]]}, {whole})")

    def op_atomic_rmw(self, op: Op) -> None:
        self._atomic(op, op.attrs["kind"], op.operands[:2], op.operands[2:])

    def op_atomic_cas(self, op: Op) -> None:
        self._atomic(op, "cas", op.operands, [])

    def _atomic(self, op: Op, kind: str, operands: list[Value], mask: list[Value]) -> None:
        self.flush(op)
        call = f"zm_atomic_{kind}({', '.join(self.use(v) for v in operands)})"
        old = op.results[0]
        if mask:
            condition = self.use(mask[0])
            if not self.uses.get(old):
                self.line(f"if ({condition}) {call};")
                return
            zero = self.literal(0, old.type.dtype)  # type: ignore[union-attr]
            call = f"{atom(condition)} ? {call} : {zero}"
        if self.uses.get(old):
            self.declare(old, call)
        else:
            self.line(f"{call};")

    # Control flow

    def op_loop(self, op: Op) -> None:
        self.flush(op)
        start, end = (atom(self.use(v)) for v in op.operands) if op.operands else (op.attrs["start"], op.attrs["end"])
        index = self.name(op.regions[0].args[0])
        pragma = {"unroll": self.unroll, "simd": self.simd, "rolled": "#pragma unroll 1"}.get(op.attrs["kind"], "")
        if op.attrs["kind"] == "unroll" and op.attrs["end"] - op.attrs["start"] > MOST_UNROLLED:
            pragma = ""  # such a tile does not fit in registers anyhow
        if pragma:
            self.line(pragma)
        self.line(f"for (int {index} = {start}; {index} < {end}; ++{index}) {{")
        self.block(op.regions[0])
        self.flush()
        self.line("}")

    simd = ""

    def carried(self, op: Op, inits: list[Value]) -> list[str]:
        out = []
        for result, init in zip(op.results, inits, strict=True):
            kind = "auto" if isinstance(result.type, Type) and result.type.is_pointer else self.ctype(result.type.elem)
            text = self.use(init)
            self.line(f"{kind} {self.name(result)} = {text};")
            out.append(self.names[result])
        return out

    def advance(self, names: list[str], ends: list[Value]) -> None:
        """Assigns all next values as if at once."""
        texts = [self.use(v) for v in ends]
        moves = [(n, t) for n, t in zip(names, texts, strict=True) if n != t]
        if len(moves) > 1:
            temps = []
            for n, t in moves:
                temp = self.fresh(n + "_next")
                self.line(f"auto {temp} = {t};")
                temps.append((n, temp))
            moves = temps
        for n, t in moves:
            self.line(f"{n} = {t};")

    def fresh(self, base: str) -> str:
        """A name that nothing else has: the base, or the base with the least number that is free."""
        name = base
        if name in self.taken:
            k = self.numbered.get(base, 1)
            while (name := f"{base}_{k}") in self.taken:
                k += 1
            self.numbered[base] = k + 1
        self.taken.add(name)
        return name

    def op_for(self, op: Op) -> None:
        self.flush()
        low, high, step = (self.use(v) for v in op.operands[:3])
        names = self.carried(op, op.operands[3:])
        body = op.regions[0]
        for arg, name in zip(body.args[1:], names, strict=True):
            self.names[arg] = name
        index = self.name(body.args[0])
        kind = self.ctype(body.args[0].type.elem)
        self.line(f"for ({kind} {index} = {low}; {index} < {atom(high)}; {index} += {step}) {{")
        self.region(body, names)
        self.line("}")

    def region(self, body: Block, names: list[str]) -> None:
        """A block whose yield assigns to variables."""
        self.depth += 1
        for op in body.ops:
            if op.name == "yield":
                self.flush(op)
                self.advance(names, op.operands)
            else:
                self.op(op)
        self.depth -= 1

    def op_while(self, op: Op) -> None:
        self.flush()
        names = self.carried(op, op.operands)
        test, body = op.regions
        for region in (test, body):
            for arg, name in zip(region.args, names, strict=True):
                self.names[arg] = name
        self.line("while (true) {")
        self.depth += 1
        for inner in test.ops:
            if inner.name == "yield":
                self.flush(inner)
                self.line(f"if (!{atom(self.use(inner.operands[0]))}) break;")
            else:
                self.op(inner)
        self.depth -= 1
        self.region(body, names)
        self.line("}")

    def op_if(self, op: Op) -> None:
        self.flush(op)
        condition = self.use(op.operands[0])
        names = []
        for r in op.results:
            if isinstance(r.type, Type) and r.type.is_pointer:
                self.line(f"{self.pointer_type(r.type.elem)} {self.name(r)};")  # type: ignore[arg-type]
            else:
                self.line(f"{self.ctype(r.type.elem)} {self.name(r)};")
            names.append(self.names[r])
        then, other = op.regions
        if len(then.ops) == 1 and not names:
            self.line(f"if (!{atom(condition)}) {{")
            self.region(other, names)
            self.line("}")
            return
        self.line(f"if ({condition}) {{")
        self.region(then, names)
        if len(other.ops) > 1 or names:
            self.line("} else {")
            self.region(other, names)
        self.line("}")

    def op_yield(self, op: Op) -> None:
        """A plain loop's body ends without one; others are handled by `region`."""

    def op_return(self, op: Op) -> None:
        self.flush()
