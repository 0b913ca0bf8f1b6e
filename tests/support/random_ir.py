"""Random well-formed Tile IR: mixed dtypes and shapes, loops, branches, masks, memory. Every access is in bounds.

Three kinds of programs: any; `indices`, index arithmetic on small numbers; `portable`, whose results no target may
change: what is read is never written, no two stores meet, and every op has one correctly rounded result (no float
products: CUDA contracts them with sums).
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import numpy as np

from zmlx import dtypes as dt
from zmlx.dtypes import DType
from zmlx.ir.builder import Builder
from zmlx.ir.core import Block, Function, Param, Value
from zmlx.ir.types import Pointer, Type
from zmlx.ops import REGISTRY as R

N = 64  # elements of every buffer
SHAPES = ((), (4,), (8,), (1, 8), (4, 1), (4, 8), (2, 2, 4), (16,))
BUFFERS = (dt.int8, dt.int32, dt.uint32, dt.int64, dt.float16, dt.bfloat16, dt.float32, dt.float64)
GRID = (2, 2, 1)
INT_BINARY = ("add", "sub", "mul", "and", "or", "xor", "minimum", "maximum", "floordiv", "mod")
FLOAT_BINARY = ("add", "sub", "mul", "div", "minimum", "maximum", "maximum_nan", "copysign", "mod")
FLOAT_UNARY = ("neg", "abs", "floor", "sqrt", "rint", "exp", "sin", "rsqrt")
EXACT_FLOAT = ("add", "sub", "div", "mod", "neg", "abs", "floor", "sqrt", "rint")
OUTPUTS = 1 << 14  # elements of an output array
COMPARE = ("eq", "ne", "lt", "le", "gt", "ge")


class Generator:
    """Grows a function from a source of randomness."""

    def __init__(self, rng: random.Random, indices: bool = False, portable: bool = False) -> None:
        self.rng, self.indices, self.portable = rng, indices, portable
        types, names = [Type(Pointer(d)) for d in BUFFERS], [f"p_{d.short}" for d in BUFFERS]
        if portable:
            types, names = types * 2, names + [f"out_{d.short}" for d in BUFFERS]
        self.body = Block([*types, Type(dt.int32), Type(dt.int32)], [*names, "n", "m"])
        self.used = 0  # elements of the output arrays that stores have taken
        self.b = Builder(self.body)
        self.pool: list[Value] = list(self.body.args[-2:])
        self.depth = 0

    def function(self, size: int) -> Function:
        self.pool += [self.b.value(R["program_id"], axis=0), self.b.value(R["arange"], start=0, end=8)]
        self.statements(size)
        for v in self.pool[-3:]:
            self.store(v)
        self.b.create(R["return"])
        params = [Param(a, 16 if a.name != "m" else 1) for a in self.body.args]
        return Function("random", params, self.body)

    def statements(self, size: int) -> None:
        for _ in range(size):
            kinds: list[Callable[[], None]] = [self.expression] * 8 + [self.shape] * 5 + [self.memory] * 3 + [self.index] * 3
            if self.depth < 2:
                kinds += [self.loop, self.branch]
            kinds += [self.offsets] * 12 if self.indices else [self.reduction]
            self.rng.choice(kinds)()

    # -- picking operands

    def constant(self, d: DType) -> Value:
        if d is dt.int1:
            value: object = self.rng.random() < 0.5
        elif d.is_float:
            value = self.rng.choice([0.0, -0.0, 1.0, -1.0, 2.0, 0.5, 3.7, math.inf, -math.inf, math.nan, 1e-3])
        elif self.indices:
            value = self.rng.choice([0, 1, 2, 3, 4, 8, 16, 32, 24])
        else:
            value = self.rng.choice([0, 1, 2, 3, 7, 8, -1 if d.is_signed else 255, *d.range()])
        return self.b.value(R["constant"], value=value, type=d)

    def to_shape(self, v: Value, shape: tuple[int, ...]) -> Value:
        if v.shape == shape:
            return v
        if not v.shape:
            return self.b.value(R["splat"], v, shape=shape)
        if math.prod(v.shape) == math.prod(shape):
            return self.b.value(R["reshape"], v, shape=shape)
        if len(v.shape) == len(shape) and all(a in (1, c) for a, c in zip(v.shape, shape, strict=True)):
            return self.b.value(R["broadcast"], v, shape=shape)
        return self.to_shape(self.constant(v.type.elem), shape)

    def to_dtype(self, v: Value, d: DType) -> Value:
        return v if v.type.elem is d else self.b.value(R["cast"], v, to=d, rounding=self.rng.choice(["rtne", "rtne", "rtz"]))

    def pick(self, t: Type | None = None) -> Value:
        if t is not None and self.rng.random() < 0.25:
            return self.to_shape(self.constant(t.dtype), t.shape)
        if t is not None and self.rng.random() < 0.6:
            alike = [v for v in self.pool[-30:] if v.type == t]
            if alike:
                return self.rng.choice(alike)
        v = self.rng.choice(self.pool[-12:])
        if t is None:
            return v
        return self.to_dtype(self.to_shape(v, t.shape), t.dtype)

    def add(self, v: Value) -> None:
        if v.name == "" and self.rng.random() < 0.3:
            v.name = self.rng.choice(["x", "acc", "offs"])
        self.pool.append(v)

    # -- statements

    def expression(self) -> None:
        rng, b, x = self.rng, self.b, self.pick()
        d = x.type.elem
        roll = rng.random()
        if roll < 0.15:
            targets = (dt.int1, dt.int8, dt.int32, dt.uint32, dt.int64) if self.indices else dt.ALL
            self.add(b.value(R["cast"], x, to=rng.choice(targets), rounding=rng.choice(["rtne", "rtz"])))
        elif roll < 0.25:
            self.add(b.value(R[rng.choice(COMPARE)], x, self.pick(x.type)))
        elif roll < 0.35:
            self.add(b.value(R["select"], self.pick(x.type.with_elem(dt.int1)), x, self.pick(x.type)))
        elif d is dt.int1:
            self.add(b.value(R["invert"], x) if rng.random() < 0.3 else b.value(R[rng.choice(["and", "or", "xor"])], x, self.pick(x.type)))
        elif d.is_float:
            name = rng.choice(EXACT_FLOAT if self.portable else FLOAT_BINARY + FLOAT_UNARY)
            if name in FLOAT_UNARY and not (R[name].has("transcendental") and d is dt.float64):
                self.add(b.value(R[name], x))
            elif name in FLOAT_BINARY:
                self.add(b.value(R[name], x, self.pick(x.type)))
        elif rng.random() < 0.2:
            amount = self.to_shape(b.value(R["constant"], value=rng.randrange(4), type=d), x.shape)
            self.add(b.value(R[rng.choice(["shl", "shr"])], x, amount))
        elif self.indices and rng.random() < 0.4:
            name = rng.choice(["floordiv", "mod", "and"])
            value = rng.choice([1, 2, 4, 8, 16, 24, 3, 7, 15])
            self.add(b.value(R[name], x, self.to_shape(b.value(R["constant"], value=value, type=d), x.shape)))
        elif rng.random() < 0.15 and not self.indices:
            self.add(b.value(R[rng.choice(["neg", "abs", "invert"])], x))
        else:
            names = ("add", "sub", "sub", "mul", "add", "minimum", "or", "xor") if self.indices else INT_BINARY
            self.add(b.value(R[rng.choice(names)], x, self.pick(x.type)))

    def shape(self) -> None:
        rng, b, x = self.rng, self.b, self.pick()
        kind = rng.choice(["splat", "expand", "broadcast", "reshape", "trans", "flip", "join", "cat"])
        rank = len(x.shape)
        if kind == "splat" or not rank:
            self.add(self.to_shape(x, rng.choice(SHAPES[1:])) if not rank else x)
        elif kind == "expand" and rank < 3:
            self.add(b.value(R["expand_dims"], x, axis=rng.randrange(rank + 1)))
        elif kind == "broadcast":
            self.add(b.value(R["broadcast"], x, shape=tuple(rng.choice([2, 4, 8]) if n == 1 else n for n in x.shape)))
        elif kind == "reshape":
            fitting = [s for s in (*SHAPES, (2, 4), (8, 1), (2, 8), (4, 4)) if s and math.prod(s) == math.prod(x.shape)]
            self.add(b.value(R["reshape"], x, shape=rng.choice(fitting)) if fitting else x)
        elif kind == "trans":
            order = list(range(rank))
            rng.shuffle(order)
            self.add(b.value(R["trans"], x, order=tuple(order)))
        elif kind == "flip":
            self.add(b.value(R["flip"], x, axis=rng.randrange(rank)))
        elif kind == "join" and rank < 3:
            joined = b.value(R["join"], x, self.pick(x.type))
            self.add(joined)
            if rng.random() < 0.6:
                for part in b.create(R["split"], [joined]).results:
                    self.add(part)
        elif kind == "cat" and math.prod(x.shape) < 64:
            self.add(b.value(R["cat"], x, self.pick(x.type), axis=rng.randrange(rank)))

    def index(self) -> None:
        rng, b = self.rng, self.b
        roll = rng.random()
        if roll < 0.4:
            start = rng.choice([0, 0, 1, 4, 8])
            self.add(b.value(R["arange"], start=start, end=start + rng.choice([4, 8, 16])))
        elif roll < 0.6:
            self.add(b.value(R[rng.choice(["program_id", "num_programs"])], axis=rng.randrange(2)))
        else:
            pid, x = b.value(R["program_id"], axis=0), b.value(R["arange"], start=0, end=8)
            block = b.value(R["mul"], pid, b.value(R["constant"], value=rng.choice([3, 8, 16]), type=dt.int32))
            if rng.random() < 0.4:
                block = b.value(R["sub"], block, b.value(R["constant"], value=rng.choice([8, 16, 32]), type=dt.int32))
            self.add(b.value(R["add"], b.value(R["splat"], block, shape=(8,)), x))

    def offsets(self) -> None:
        """What kernels do with block offsets: bounds checks, quotients, remainders, clamps, differences."""
        rng, b = self.rng, self.b
        tiles = [v for v in self.pool[-20:] if v.shape and v.type.elem.is_int and v.type.elem is not dt.int1]
        if not tiles:
            return self.index()
        x = rng.choice(tiles)
        d = x.type.elem
        number = b.value(R["constant"], value=rng.choice([1, 2, 4, 8, 16, 32, 24, 5]), type=d)
        c = self.to_shape(number, x.shape)
        kind = rng.choice(["compare", "compare", "floordiv", "mod", "and", "sub", "select", "cast", "flip", "addptr"])
        if kind == "compare":
            x, y = (x, c) if rng.random() < 0.7 else (c, x)
            self.add(b.value(R[rng.choice(COMPARE[2:])], x, y))
        elif kind == "and":
            low = self.to_shape(b.value(R["constant"], value=rng.choice([1, 3, 7, 15, -4, -8] if d.is_signed else [3, 7]), type=d), x.shape)
            self.add(b.value(R["and"], x, low))
        elif kind == "sub":
            alike = [v for v in tiles if v.type == x.type]
            self.add(b.value(R["sub"], x, rng.choice([c, rng.choice(alike)])))
        elif kind == "select":
            same = [v for v in tiles if v.type == x.type]
            masks = [v for v in self.pool[-30:] if v.type == x.type.with_elem(dt.int1)]
            self.add(b.value(R["select"], rng.choice(masks) if masks else b.value(R["lt"], x, c), x, rng.choice(same)))
        elif kind == "cast":
            self.add(b.value(R["cast"], x, to=rng.choice([dt.int8, dt.uint8, dt.int32, dt.uint32, dt.int64, dt.uint64])))
        elif kind == "flip":
            self.add(b.value(R["flip"], x, axis=rng.randrange(len(x.shape))))
        elif kind == "addptr":
            b.value(R["addptr"], self.to_shape(rng.choice(self.body.args[: len(BUFFERS)]), x.shape), x)
        else:
            self.add(b.value(R[kind], x, c))

    def pointer(self, shape: tuple[int, ...], d: DType | None = None) -> Value:
        """A tile of addresses that are all in bounds."""
        d = d or self.rng.choice(BUFFERS)
        offset_type = self.rng.choice([dt.int32, dt.int32, dt.int64])
        offset = self.pick(Type(offset_type, shape))
        offset = self.b.value(R["and"], offset, self.to_shape(self.b.value(R["constant"], value=N - 1, type=offset_type), shape))
        base = self.body.args[BUFFERS.index(d)]
        return self.b.value(R["addptr"], self.to_shape(base, shape), offset)

    def output(self, shape: tuple[int, ...], d: DType) -> Value:
        """Addresses of the next free elements of an output array."""
        size = math.prod(shape)
        start, self.used = self.used, self.used + size
        assert self.used <= OUTPUTS
        base, b = self.body.args[len(BUFFERS) + BUFFERS.index(d)], self.b
        if not shape:
            return b.value(R["addptr"], base, b.value(R["constant"], value=start, type=dt.int32))
        flat = b.value(R["reshape"], b.value(R["arange"], start=start, end=start + size), shape=shape)
        return b.value(R["addptr"], b.value(R["splat"], base, shape=shape), flat)

    def memory(self) -> None:
        shape = self.rng.choice(SHAPES)
        if self.rng.random() < 0.35:
            self.store(self.pick())
            return
        p = self.pointer(shape)
        operands = [p]
        if self.rng.random() < 0.6:
            operands += [self.pick(Type(dt.int1, shape)), self.pick(Type(p.type.elem.elem, shape))]
        v = self.b.create(R["load"], operands).result
        if v.type.elem.is_int or not self.indices:
            self.add(v)

    def store(self, v: Value) -> None:
        d = v.type.elem if v.type.elem in BUFFERS else self.rng.choice(BUFFERS)
        operands = [self.output(v.shape, d) if self.portable else self.pointer(v.shape, d), self.to_dtype(v, d)]
        if self.rng.random() < 0.5:
            operands.append(self.pick(Type(dt.int1, v.shape)))
        self.b.create(R["store"], operands)

    def reduction(self) -> None:
        xs = [v for v in self.pool[-12:] if v.shape and v.type.elem is not dt.int1 and not (self.portable and v.type.elem.is_float)]
        if not xs:
            return
        x = self.rng.choice(xs)
        axis, elem = self.rng.randrange(len(x.shape)), x.type.scalar
        region = Block([elem, elem], ["l", "r"])
        name = self.rng.choice(["add", "maximum", "minimum"])
        with self.b.at(region):
            out = self.b.value(R[name], *region.args)
            if self.rng.random() < 0.3:
                out = self.b.value(R["add"], out, self.b.value(R["sub"], region.args[0], region.args[0]))
            self.b.create(R["yield"], [out])
        scan = self.rng.random() < 0.4
        attrs = {"axis": axis, "reverse": self.rng.random() < 0.5} if scan else {"axis": axis}
        self.add(self.b.create(R["scan" if scan else "reduce"], [x], attrs, [region]).result)

    def nested(self, region: Block, finish: Callable[[], list[Value]]) -> None:
        saved, self.pool, self.depth = self.pool, [*self.pool, *(a for a in region.args if not a.type.is_pointer)], self.depth + 1
        with self.b.at(region):
            self.statements(self.rng.randrange(1, 5))
            self.b.create(R["yield"], finish())
        self.pool, self.depth = saved, self.depth - 1

    def loop(self) -> None:
        """A counted loop or a while loop over carried values, some of which advance by an invariant."""
        rng, b = self.rng, self.b
        inits = [self.pick() for _ in range(rng.randrange(3))]
        pointers: list[tuple[int, Value]] = []
        for _ in range(rng.randrange(3)):
            shape = rng.choice([(4,), (8,), (4, 8)])
            if rng.random() < 0.5:
                inits.append(self.to_shape(self.body.args[rng.randrange(len(BUFFERS))], shape))
                step: Value = self.pick(Type(rng.choice([dt.int32, dt.int64]), shape if rng.random() < 0.4 else ()))
            else:
                inits.append(self.pick(Type(rng.choice([dt.int32, dt.int8, dt.uint32]), shape)))
                step = self.pick(inits[-1].type if rng.random() < 0.4 else inits[-1].type.scalar)
            pointers.append((len(inits) - 1, self.to_shape(step, shape)))
        counted = rng.random() < 0.7

        def finish() -> list[Value]:
            out = [self.pick(v.type) if not v.type.is_pointer else v for v in inits]
            for i, v in enumerate(inits):
                if rng.random() < 0.3:
                    out[i] = region.args[i + 1]
                elif rng.random() < 0.1:
                    out[i] = v
            for i, d in pointers:
                out[i] = b.value(R["addptr" if inits[i].type.is_pointer else "add"], region.args[i + 1], d)
                if inits[i].type.is_pointer:
                    number = b.value(R["bitcast"], region.args[i + 1], to=dt.int64)
                    base = b.value(R["bitcast"], inits[i], to=dt.int64)
                    if not self.indices:
                        self.store(b.value(R["sub"], number, base))
            if not counted:
                one = b.value(R["constant"], value=1, type=dt.int32)
                out.insert(0, b.value(R["add"], region.args[0], one))
            return out

        low = b.value(R["constant"], value=rng.choice([0, 0, 1]), type=dt.int32)
        high = b.value(R["constant"], value=rng.choice([0, 1, 2, 3]), type=dt.int32)
        if rng.random() < 0.5:
            high = b.value(R["and"], self.body.args[-1], high)
        types = [v.type for v in inits]
        region = Block([Type(dt.int32), *types], ["i"])
        self.nested(region, finish)
        if counted:
            step = b.value(R["constant"], value=rng.choice([1, 1, 2]), type=dt.int32)
            op = b.create(R["for"], [low, high, step, *inits], {}, [region])
            results = op.results
        else:
            test = Block([Type(dt.int32), *types], ["i"])
            with b.at(test):
                b.create(R["yield"], [b.value(R["lt"], test.args[0], high)])
            results = b.create(R["while"], [low, *inits], {}, [test, region]).results[1:]
        for r in results:
            if not r.type.is_pointer:
                self.add(r)

    def branch(self) -> None:
        cond = self.pick(Type(dt.int1))
        types = [self.pick().type for _ in range(self.rng.randrange(3))]
        shared = [self.pick(t) for t in types]
        regions = [Block(), Block()]
        for region in regions:
            self.nested(region, lambda: [self.pick(t) if self.rng.random() < 0.7 else s for t, s in zip(types, shared, strict=True)])
        for r in self.b.create(R["if"], [cond], {}, regions).results:
            self.add(r)


def buffers(seed: int, indices: bool = False) -> dict[str, np.ndarray]:
    """Storage arrays for the parameters; special values among the floats, small numbers for index arithmetic."""
    rng = np.random.default_rng(seed)
    out = {}
    for d in BUFFERS:
        if d.is_float:
            x = rng.normal(size=N) * 3
            x[:6] = [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-40]
            rng.shuffle(x)
            with np.errstate(all="ignore"):
                out[f"p_{d.short}"] = dt.encode(x.astype(d.compute), d)
        else:
            low, high = (0, 50) if indices else d.range()
            out[f"p_{d.short}"] = rng.integers(low, high, N, dtype=d.storage, endpoint=True)
    return out


def outputs() -> dict[str, np.ndarray]:
    """Zeroed storage arrays for what portable programs write."""
    return {f"out_{d.short}": np.zeros(OUTPUTS, d.storage) for d in BUFFERS}


def scalars() -> dict[str, int]:
    return {"n": 32, "m": 7}
