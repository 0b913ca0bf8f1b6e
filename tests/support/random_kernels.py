"""Random kernels as Python text: expressions, shapes, masks, dtypes, reductions, scans, loops, branches, memory.

All results are exact, so that targets agree bit for bit: floats are only summed where they are small integers, what is
transcendental goes to arrays of its own (`t_…`) that are compared with a tolerance, and no kernel depends on the order
of threads. Every access is in bounds.
"""

from __future__ import annotations

import importlib.util
import math
import random
from pathlib import Path
from types import ModuleType

import numpy as np

from zmlx import dtypes as dt
from zmlx.dtypes import DType

SIZE = 4096  # elements of every input
MOST = 1024  # elements of every tile
PROGRAMS = 3
OWN = 1024  # elements of an in-place array that belong to one program
INPUTS = (dt.int1, dt.int8, dt.uint8, dt.int16, dt.int32, dt.uint32, dt.int64, dt.float16, dt.bfloat16, dt.float32, dt.float64)
OWNED = (dt.int32, dt.float16, dt.float32, dt.int8)
INTS = tuple(d for d in INPUTS if d.is_int and not d.is_bool)
VECTORS = ((1,), (2,), (8,), (32,), (64,), (128,), (256,), (512,))
SHAPES = (*VECTORS, (8, 16), (16, 8), (1, 32), (16, 1), (32, 32), (4, 8, 2), (2, 1, 16), (2, 4, 2, 8))
SMOOTH = (
    "tl.exp({})", "tl.sin({})", "tl.log({} + 1.0)", "tl.sigmoid({})", "tl.rsqrt({} + 0.5)", "tl.erf({})", "tl.sum(tl.exp2({}), 0)",
    "tl.softmax({})", "tl.cumsum(tl.cos({}), 0)",
)  # fmt: skip
SMALL = {dt.int8: 1, dt.float16: 1, dt.bfloat16: 1}

PREAMBLE = """
import zmlx
import zmlx.language as tl


@zmlx.jit
def plus(a, b):
    return a + b


@zmlx.jit
def affine(a, b, c, d):
    return a * c, b * c + d


@zmlx.jit
def later(a, i, b, j):
    take = (b > a) | ((b == a) & (j > i))
    return tl.where(take, b, a), tl.where(take, j, i)


@zmlx.jit
def branchy(a, b):
    if b > a:
        r = b
    else:
        r = a
    return r


@zmlx.jit
def mixed(a, b, FLIP: tl.constexpr = False):
    if FLIP:
        return b - a, a
    return a - b, b
"""


class Kernel:
    """Grows one kernel's text."""

    def __init__(self, rng: random.Random, name: str, size: int, wide: bool = True) -> None:
        self.r, self.name, self.wide = rng, name, wide  # wide: with float64, which Metal lacks
        self.lines: list[str] = []
        self.indent = 1
        self.pool: list[tuple[str, DType, tuple[int, ...]]] = []
        self.inputs = [d for d in INPUTS if wide or d is not dt.float64]
        self.slots = dict.fromkeys([f"o_{d.short}" for d in self.inputs] + ["t_f32"], 0)
        self.next = 0
        self.loops = 0
        self.line("pid = tl.program_id(0)")
        self.pool += [("pid", dt.int32, ()), ("n", dt.int32, ()), ("k", dt.int32, ()), ("a", dt.float32, ()), ("flag", dt.int1, ())]
        for _ in range(2):
            d, s = self.dtype(), self.shape()
            self.define(self.load(d, s), d, s)
        self.statements(size)
        for v, d, s in self.pool[-4:]:
            self.store(v, d, s)

    def text(self) -> str:
        arrays = [f"x_{d.short}" for d in self.inputs] + [f"w_{d.short}" for d in OWNED] + ["c_i32"] + list(self.slots)
        head = f"\n\n@zmlx.jit\ndef {self.name}({', '.join(arrays)}, n, k, a, flag):\n"
        return head + "\n".join(self.lines) + "\n"

    # Text

    def line(self, text: str) -> None:
        self.lines.append("    " * self.indent + text)

    def fresh(self) -> str:
        self.next += 1
        return f"v{self.next}"

    def define(self, text: str, d: DType, s: tuple[int, ...]) -> str:
        name = self.fresh()
        self.line(f"{name} = {text}")
        self.pool.append((name, d, s))
        return name

    def chance(self, p: float) -> bool:
        return self.r.random() < p

    def dtype(self) -> DType:
        return self.r.choice([*self.inputs, dt.int32, dt.float32, dt.float32, dt.int32])

    def shape(self) -> tuple[int, ...]:
        return self.r.choice(SHAPES)

    # Statements

    def statements(self, count: int) -> None:
        for _ in range(count):
            kinds = [self.assign] * 8 + [self.keep, self.keep, self.inplace, self.inplace, self.atomic, self.smooth, self.scatter]
            if self.indent < 3:
                kinds += [self.branch, self.branch, self.loop, self.loop, self.wait]
            if self.indent == 1:
                kinds += [self.leave]
            self.r.choice(kinds)()

    def assign(self) -> None:
        d = self.dtype()
        s = () if self.chance(0.15) else self.shape()
        self.define(self.expr(d, s, 3), d, s)

    def keep(self) -> None:
        v, d, s = self.r.choice(self.pool)
        self.store(v, d, s)

    def leave(self) -> None:
        if self.chance(0.3):
            self.line(f"if {self.r.choice(['pid == 2', 'pid > n', 'flag & (pid == 1)'])}:")
            mark = self.scoped(self.r.randrange(2))
            self.line("return")
            self.unscope(mark)

    def scoped(self, count: int) -> int:
        mark = len(self.pool)
        self.indent += 1
        self.statements(count)
        return mark

    def unscope(self, mark: int) -> None:
        del self.pool[mark:]
        self.indent -= 1

    def targets(self) -> list[tuple[str, DType, tuple[int, ...]]]:
        """Fresh variables that control flow will change."""
        out = []
        for _ in range(self.r.randint(1, 3)):
            d = self.dtype()
            s = () if self.chance(0.3) else self.shape()
            if out and self.chance(0.5):
                _, d, s = out[0]  # so that they can trade places
            name = self.fresh()
            self.line(f"{name} = {self.expr(d, s, 1)}")
            out.append((name, d, s))
        return out

    def change(self, targets: list[tuple[str, DType, tuple[int, ...]]]) -> None:
        if len(targets) > 1 and targets[0][1:] == targets[1][1:] and self.chance(0.6):
            (u, d, s), (v, _, _) = targets[:2]
            turned = f"tl.flip({u}, 0)" if s else u
            new = self.r.choice([f"{v}, {u}", f"{v}, {turned}", f"{v}, tl.where({self.expr(dt.int1, s, 1)}, {u}, {v})", f"{turned}, {u}"])
            self.line(f"{u}, {v} = {new}")
            return
        for name, d, s in targets:
            if self.chance(0.8):
                self.line(f"{name} = {self.expr(d, s, 2)}")

    def branch(self) -> None:
        targets = self.targets()
        self.line(f"if {self.condition()}:")
        mark = self.scoped(self.r.randrange(3))
        self.pool += targets
        self.change(targets)
        self.line("pass")
        self.unscope(mark)
        if self.chance(0.7):
            self.line("else:")
            mark = self.scoped(self.r.randrange(2))
            self.pool += targets
            self.change(targets)
            self.line("pass")
            self.unscope(mark)
        self.pool += targets

    def loop(self) -> None:
        targets = self.targets()
        i = f"i{self.next}"
        self.next += 1
        pointer = None
        if self.chance(0.3):
            d, s = self.r.choice(self.inputs), self.shape()
            pointer = self.fresh()
            self.line(f"{pointer} = x_{d.short} + {self.flat(s)}")
        bounds = self.r.choice(["k", "0, k", "1, 4", "pid, 3", "0, 4, 2", "k, 1", "n % 4", "2"])
        kind = "tl.static_range" if bounds in ("1, 4", "2", "0, 4, 2") and self.chance(0.3) else "range"
        self.line(f"for {i} in {kind}({bounds}):")
        mark = len(self.pool)
        self.pool += targets
        if kind == "range":
            self.pool.append((i, dt.int32, ()))
        self.indent += 1
        if pointer:
            self.define(f"tl.load({pointer})", d, s)
            self.line(f"{pointer} += {self.r.choice([1, 16, 100, 512])}")
        self.statements(self.r.randrange(3))
        self.change(targets)
        self.line("pass")
        self.unscope(mark)
        self.keep_all(targets)

    def wait(self) -> None:
        targets = self.targets()
        c = self.fresh()
        self.line(f"{c} = {self.r.choice(['0', 'pid', 'k'])}")
        extra = f" & {self.scalar_condition()}" if self.chance(0.4) else ""
        self.line(f"while ({c} < {self.r.choice(['3', 'k', '0', '2'])}){extra}:")
        mark = len(self.pool)
        self.pool += [*targets, (c, dt.int32, ())]
        self.indent += 1
        self.statements(self.r.randrange(2))
        self.change(targets)
        self.line(f"{c} += 1")
        self.unscope(mark)
        self.keep_all([*targets, (c, dt.int32, ())])

    def keep_all(self, targets: list[tuple[str, DType, tuple[int, ...]]]) -> None:
        self.pool += targets
        for v, d, s in targets:
            self.store(v, d, s)

    def condition(self) -> str:
        return self.r.choice(["flag", "pid == 1", "n > 100", "k < 2", self.scalar_condition(), self.scalar_condition()])

    def scalar_condition(self) -> str:
        return f"({self.expr(dt.int1, (), 2)})"

    # Memory

    def flat(self, s: tuple[int, ...], strides: tuple[int, ...] | None = None) -> str:
        """Row-major positions (or others) in a tile."""
        if not s:
            return "0"
        if strides is None:
            strides = tuple(math.prod(s[i + 1 :]) for i in range(len(s)))
        parts = []
        for i, (n, stride) in enumerate(zip(s, strides, strict=True)):
            index = ", ".join(":" if j == i else "None" for j in range(len(s)))
            part = f"tl.arange(0, {n})" + (f"[{index}]" if len(s) > 1 else "")
            parts.append(part if stride == 1 else f"{part} * {stride}")
        return "(" + " + ".join(parts) + ")"

    def load(self, d: DType, s: tuple[int, ...]) -> str:
        kind = self.r.randrange(6)
        size = math.prod(s)
        if kind <= 1:
            at = f"{self.flat(s)} + {self.r.choice([0, 1, 16, 100, 512])}"
        elif kind == 2 and s:
            order = self.r.sample(range(len(s)), len(s))
            strides = [0] * len(s)
            step = self.r.choice([1, 1, 2])
            for i in order:
                strides[i] = step
                step *= s[i]
            at = self.flat(s, tuple(strides)) + self.r.choice(["", " + n", " + pid * 16"])
        elif kind == 3:
            at = f"({self.expr(dt.int32, s, 1)} & {SIZE - 1})"
        elif kind == 4:
            at = f"{size - 1} - {self.flat(s)} + 7"
        else:
            at = f"n + {self.flat(s)}"
        mask = ""
        if self.chance(0.5):
            condition = self.r.choice([f"({at}) < n", f"({at}) < {self.r.choice([0, 1, 31, 777, 4096])}", self.expr(dt.int1, s, 1)])
            mask = f", mask={condition}"
            if self.chance(0.6):
                literal = {"bool": "True", "int": "-3", "uint": "5", "float": "1.5"}[d.kind]
                mask += f", other={literal if self.chance(0.6) else self.expr(d, s, 1)}"
        return f"tl.load(x_{d.short} + ({at}){mask})"

    def store(self, v: str, d: DType, s: tuple[int, ...], name: str = "") -> None:
        """To a place that no other store uses; inside of loops every iteration writes it anew."""
        name = name or f"o_{d.short}"
        size = math.prod(s)
        start = self.slots[name]
        self.slots[name] += size * PROGRAMS
        mask = f", mask={self.expr(dt.int1, s, 1)}" if s and self.chance(0.2) else ""
        self.line(f"tl.store({name} + {start} + pid * {size} + {self.flat(s)}, {v}{mask})")

    def inplace(self) -> None:
        """Loads that must see earlier stores, through other pointers of the program's own piece."""
        d, s = self.r.choice(OWNED), self.shape()
        size = math.prod(s)
        start = self.r.choice([0, 0, 8, 100, OWN - size]) if size <= OWN - 100 else 0
        base = f"w_{d.short} + pid * {OWN} + {start}"
        at = self.r.choice([self.flat(s), f"{size - 1} - {self.flat(s)}", f"({self.flat(s)} ^ {self.r.choice([1, size - 1])}) % {size}"])
        before = ""
        if self.chance(0.6):  # loaded before the store, used after it
            seen = self.r.choice([self.flat(s), f"{size - 1} - {self.flat(s)}"])
            before = self.define(f"tl.load({base} + {seen})", d, s)
        value = f"{before} + {self.leaf(d, s)}" if before and self.chance(0.5) else self.expr(d, s, 2)
        self.line(f"tl.store({base} + {at}, {value}{', mask=' + self.expr(dt.int1, s, 1) if self.chance(0.3) else ''})")
        if before:
            self.store(before, d, s)
        if self.chance(0.8):
            s = self.shape()
            size = math.prod(s)
            start = self.r.choice([0, 3, OWN - size])
            start = min(start, OWN - size)
            self.define(f"tl.load(w_{d.short} + pid * {OWN} + {start} + {self.flat(s)})", d, s)

    def scatter(self) -> None:
        """One scalar, stored and loaded again."""
        d = self.r.choice(OWNED)
        self.line(f"tl.store(w_{d.short} + pid * {OWN} + {self.r.randrange(OWN)}, {self.expr(d, (), 2)})")
        self.define(f"tl.load(w_{d.short} + pid * {OWN} + {self.r.randrange(8)})", d, ())

    def atomic(self) -> None:
        s = self.shape()
        cell = f"({self.expr(dt.int32, s, 1)} & 15)"
        op, base = self.r.choice([("add", 0), ("max", 16), ("xor", 32), ("min", 48)])
        mask = f", mask={self.expr(dt.int1, s, 1)}" if self.chance(0.5) else ""
        self.line(f"tl.atomic_{op}(c_i32 + {base} + {cell}, {self.expr(dt.int32, s, 1)}{mask})")

    def smooth(self) -> None:
        """A transcendental function of moderate numbers, straight to memory."""
        s = self.shape()
        x = f"({self.expr(dt.int32, s, 1)} & 63).to(tl.float32) / 16.0"
        fn = self.r.choice(SMOOTH)
        if "sum(tl.exp2" in fn:
            self.store(fn.format(x), dt.float32, s[1:], "t_f32")
        else:
            self.store(fn.format(x), dt.float32, s, "t_f32")

    # Expressions of exactly one dtype and shape

    def leaf(self, d: DType, s: tuple[int, ...]) -> str:
        fits = [v for v in self.pool if v[2] == s]
        grows = [v for v in self.pool if len(v[2]) <= len(s) and all(a in (1, b) for a, b in zip(v[2][::-1], s[::-1], strict=False))]
        if fits and self.chance(0.75):
            same = [v for v in fits if v[1] is d]
            name, e, _ = self.r.choice(same if same and self.chance(0.6) else fits)
            return name if e is d else f"{name}.to(tl.{d.name})"
        if grows and self.chance(0.5):
            name, e, t = self.r.choice(grows)
            text = name if e is d else f"{name}.to(tl.{d.name})"
            return text if t == s else f"tl.broadcast_to({text}, {s})"
        if not s or self.chance(0.3):
            return self.number(d, s)
        if self.chance(0.3):
            return f"{self.flat(s)}.to(tl.{d.name})"
        size = math.prod(s)
        return f"tl.load(x_{d.short} + {self.r.choice([0, 5, 64, SIZE - size])} + {self.flat(s)})"

    def number(self, d: DType, s: tuple[int, ...]) -> str:
        if d.is_bool:
            value = self.r.choice(["True", "False"])
        elif d.is_float:
            value = self.r.choice(["0.0", "1.0", "-1.5", "3.25", "0.1", "float('inf')", "-0.0", "1e-3"])
        else:
            value = self.r.choice(
                ["0", "1", "2", "3", "7", "100", str(d.range()[1])] + (["-1", "-7", str(d.range()[0])] if d.is_signed else [])
            )
        return f"tl.full({s}, {value}, tl.{d.name})"

    def expr(self, d: DType, s: tuple[int, ...], depth: int) -> str:
        if depth <= 0 or self.chance(0.12):
            return self.leaf(d, s)
        kinds = [self.elementwise] * 6 + [self.where, self.convert]
        if s:
            kinds += [self.shaped, self.shaped, self.loaded]
        if len(s) < 4:
            kinds += [self.reduced, self.reduced]
        if s:
            kinds += [self.scanned]
        if len(s) == 2 and min(s) >= 16 and d in (dt.float32, dt.int32):
            kinds += [self.product] * 4
        return self.r.choice(kinds)(d, s, depth - 1)

    def elementwise(self, d: DType, s: tuple[int, ...], depth: int) -> str:
        r = self.r
        x = self.expr(d, s, depth)
        if d.is_bool:
            kind = r.randrange(5)
            if kind < 3:
                e = self.dtype()
                a, b = self.expr(e, s, depth), self.expr(e, s, depth)
                ops = ("==", "!=", "<", "<=", ">", ">=")
                return f"({a} {r.choice(ops)} {b})"
            if kind == 3:
                return f"({x} {r.choice(['&', '|', '^'])} {self.expr(d, s, depth)})"
            return f"(not {x})" if not s and self.chance(0.5) else f"(~{x})"
        y = self.expr(d, s, depth)
        if d.is_float:
            kind = r.randrange(9)
            if kind < 4:
                return f"({x} {r.choice('+-*')} {y})"
            if kind == 4:
                return f"({x} / {y}).to(tl.{d.name})"
            if kind == 5:
                return f"(tl.{r.choice(['minimum', 'maximum'])}({x}, {y}) + 0.0)"
            if kind == 6:
                return f"tl.{r.choice(['abs', 'floor', 'ceil', 'sqrt'])}({x})"
            if kind == 7:
                return f"(-{x})"
            return f"tl.fma({x}, {y}, {self.leaf(d, s)})"
        kind = r.randrange(9)
        if kind < 4:
            return f"({x} {r.choice(['+', '-', '*', '&', '|', '^'])} {y})"
        if kind == 4:
            return f"({x} {r.choice(['//', '%'])} {y})"
        if kind == 5:
            return f"({x} {r.choice(['<<', '>>'])} ({y} & 7))"
        if kind == 6:
            return f"tl.{r.choice(['minimum', 'maximum'])}({x}, {y})"
        if kind == 7 and d.is_signed:
            return f"tl.abs({x})" if self.chance(0.5) else f"(-{x})"
        return f"(~{x})" if self.chance(0.5) else f"mixed({x}, {y}, {self.chance(0.5)})[{r.randrange(2)}]"

    def where(self, d: DType, s: tuple[int, ...], depth: int) -> str:
        return f"tl.where({self.expr(dt.int1, s, depth)}, {self.expr(d, s, depth)}, {self.expr(d, s, depth)})"

    def convert(self, d: DType, s: tuple[int, ...], depth: int) -> str:
        e = self.dtype()
        x = self.expr(e, s, depth)
        if e.bits == d.bits and e is not d and not e.is_bool and self.chance(0.6):
            if e.is_float:
                name = self.define(x, e, s)  # a NaN's bits are nobody's promise
                x = f"tl.where({name} == {name}, {name}, tl.full({s}, 0.0, tl.{e.name}))"
            return f"{x}.to(tl.{d.name}, bitcast=True)"
        return x if e is d else f"{x}.to(tl.{d.name})"

    def loaded(self, d: DType, s: tuple[int, ...], depth: int) -> str:
        return self.load(d, s)

    def shaped(self, d: DType, s: tuple[int, ...], depth: int) -> str:
        r, size = self.r, math.prod(s)
        kind = r.randrange(8)
        if kind == 0 and len(s) > 1:
            order = r.sample(range(len(s)), len(s))
            source = tuple(s[order.index(i)] for i in range(len(s)))
            return f"tl.permute({self.expr(d, source, depth)}, {tuple(order)})"
        if kind == 1:
            options = [t for t in SHAPES if math.prod(t) == size and t != s] + [(size,)]
            return f"tl.reshape({self.expr(d, r.choice(options), depth)}, {s})"
        if kind == 2:
            return f"tl.flip({self.expr(d, s, depth)}, {r.randrange(len(s))})"
        if kind == 3:
            axis = r.randrange(len(s))
            source = tuple(1 if i == axis else n for i, n in enumerate(s))
            return f"tl.broadcast_to({self.expr(d, source, depth)}, {s})"
        if kind == 4 and len(s) > 1:
            axis = r.randrange(len(s))
            source = tuple(n for i, n in enumerate(s) if i != axis)
            text = f"tl.expand_dims({self.expr(d, source, depth)}, {axis})"
            return text if s[axis] == 1 else f"tl.broadcast_to({text}, {s})"
        if kind == 5 and s[0] > 1:
            half = (s[0] // 2, *s[1:])
            return f"tl.cat({self.expr(d, half, depth)}, {self.expr(d, half, depth)}, dim=0)"
        if kind == 6 and s[-1] > 1 and len(s) < 4:
            half = (*s[:-1], s[-1] // 2)
            return f"tl.interleave({self.expr(d, half, depth)}, {self.expr(d, half, depth)})"
        if kind == 7 and len(s) < 4 and size * 2 <= MOST:
            return f"tl.split({self.expr(d, (*s, 2), depth)})[{r.randrange(2)}]"
        return self.leaf(d, s)

    def reduced(self, d: DType, s: tuple[int, ...], depth: int) -> str:
        r = self.r
        room = MOST // max(1, math.prod(s))
        n = r.choice([m for m in (1, 2, 8, 16, 32, 128, 1024) if m <= room])
        axis = r.randrange(len(s) + 1)
        source = (*s[:axis], n, *s[axis:])
        where: str = str(axis)
        if not s and self.chance(0.5):
            where = "None"
            source = r.choice(SHAPES)
        kind = r.randrange(7)
        to = f".to(tl.{d.name})"
        e = self.dtype()
        if kind == 0:  # a sum of small integers is exact in every type
            x = self.expr(dt.int32, source, depth)
            if e.is_float:
                return f"tl.sum(({x} & {SMALL.get(e, 7)}).to(tl.{e.name if not e.is_half else 'float32'}), axis={where}){to}"
            return f"tl.sum({self.expr(e, source, depth)}, axis={where}){to}"
        if kind == 1:
            x = self.expr(e, source, depth)
            if e.is_bool:
                return f"(tl.max({x}.to(tl.int32), axis={where})){to}"
            zero = " + 0.0" if e.is_float else ""
            return f"(tl.{r.choice(['max', 'min'])}({x}, axis={where}){zero}){to}"
        if kind == 2 and where != "None":
            e = e if not e.is_bool else dt.int32
            return f"tl.{r.choice(['argmax', 'argmin'])}({self.expr(e, source, depth)}, axis={where}){to}"
        if kind == 3:
            e = r.choice(INTS)
            return f"tl.xor_sum({self.expr(e, source, depth)}, axis={where}){to}"
        if kind == 4:
            e = r.choice([dt.int32, dt.int64, dt.uint32, dt.int8])
            return f"tl.reduce({self.expr(e, source, depth)}, {where}, {r.choice(['plus', 'branchy'])}){to}"
        if kind == 5 and where != "None":
            others = tuple(i for i in range(len(source)) if i != axis)
            index = f"tl.broadcast_to(tl.expand_dims(tl.arange(0, {n}), {others}), {source})" if others else f"tl.arange(0, {n})"
            values = self.expr(e if e in INTS else dt.int8, source, depth)
            return f"tl.reduce(({values}, {index}), {where}, later)[1]{to}"
        if s:
            inner = f"tl.max({self.expr(dt.int32, s, depth)}, axis=0, keep_dims=True)"
            return f"tl.broadcast_to({inner}, {s}){to}"
        return self.leaf(d, s)

    def scanned(self, d: DType, s: tuple[int, ...], depth: int) -> str:
        r = self.r
        axis = r.randrange(len(s))
        back = ", reverse=True" if self.chance(0.4) else ""
        kind = r.randrange(4)
        to = f".to(tl.{d.name})"
        if kind == 0:
            e = r.choice(INTS)
            return f"tl.cumsum({self.expr(e, s, depth)}, axis={axis}{back}){to}"
        if kind == 1:
            return f"tl.cumprod({self.expr(r.choice([dt.int32, dt.uint32, dt.int64]), s, depth)}, axis={axis}{back}){to}"
        if kind == 2:
            e = r.choice([dt.int32, dt.uint32, dt.int64])
            pair = f"({self.expr(e, s, depth)}, {self.expr(e, s, depth)})"
            return f"tl.associative_scan({pair}, {axis}, affine{back})[{r.randrange(2)}]{to}"
        return f"tl.cumsum(({self.expr(dt.int32, s, depth)} & 7).to(tl.float32), axis={axis}{back}){to}"

    def product(self, d: DType, s: tuple[int, ...], depth: int) -> str:
        e = self.r.choice([dt.float32, dt.float16, dt.bfloat16] if d.is_float else [dt.int8])
        k = 32
        a = f"({self.expr(dt.int32, (s[0], k), depth)} & 7).to(tl.{e.name})"
        if self.chance(0.5):
            b = f"({self.expr(dt.int32, (k, s[1]), depth)} & 7).to(tl.{e.name})"
        else:
            b = f"tl.trans(({self.expr(dt.int32, (s[1], k), depth)} & 7).to(tl.{e.name}))"
        acc = f", acc=({self.expr(dt.int32, s, depth)} & 1023).to(tl.{d.name})" if self.chance(0.4) else ""
        return f"tl.dot({a}, {b}{acc})"


def arrays(kernel: Kernel, seed: int) -> dict[str, np.ndarray]:
    """The arguments of a kernel: inputs full of special values, outputs of a pattern that must survive where nothing is written."""
    rng = np.random.default_rng(seed)
    out: dict[str, np.ndarray] = {}

    def numbers(d: DType, n: int) -> np.ndarray:
        if d.is_bool:
            return rng.integers(0, 2, n).astype(bool)
        if d.is_int:
            x = rng.integers(-50 if d.is_signed else 0, 100, n)
            return np.where(rng.random(n) < 0.1, rng.choice(np.array(d.range(), dtype=object), n), x).astype(d.storage)
        x = np.round(rng.standard_normal(n) * 8) / 8
        x = np.where(rng.random(n) < 0.1, rng.standard_normal(n) * 100, x)
        x = np.where(rng.random(n) < 0.03, rng.choice([np.nan, np.inf, -np.inf, -0.0, 1e-8], n), x)
        return dt.encode(x.astype(d.compute), d)

    for d in kernel.inputs:
        out[f"x_{d.short}"] = numbers(d, SIZE)
    for d in OWNED:
        out[f"w_{d.short}"] = numbers(d, OWN * PROGRAMS)
    out["c_i32"] = np.zeros(64, np.int32)
    for name, used in kernel.slots.items():
        out[name] = np.full(max(8, used), 77, dt.BY_SHORT[name[2:]].storage)
    return out


def scalars(seed: int) -> dict[str, object]:
    r = random.Random(seed)
    return {
        "n": r.choice([0, 1, 31, 100, 777, 1000, 1024]),
        "k": r.choice([0, 1, 2, 3, 5]),
        "a": r.choice([0.5, -2.0, 3.25]),
        "flag": r.random() < 0.5,
    }


def module(text: str, folder: Path, name: str) -> ModuleType:
    """The kernels of a text, from a file, which is where zmlx reads their source."""
    path = folder / f"{name}.py"
    path.write_text(text)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made
