"""The oracle: runs Tile IR with NumPy, one program after the other, so that every result has one meaning.

It executes the IR, not the Python function, and so catches a wrong frontend or pass as well as a wrong target.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from zmlx.dtypes import DType, encode
from zmlx.errors import DeviceAccessError, DeviceAssertError, InternalCompilerError, ZmlxError, excerpt
from zmlx.interp.memory import AccessFault, Memory
from zmlx.ir.core import Block, Function, Op, Value
from zmlx.ir.types import Pointer, Type
from zmlx.ops.atomic import KINDS
from zmlx.ops.dot import accumulator
from zmlx.ops.evaluate import compute_dtype, evaluable, evaluate, literal, round_to

Arrays = list[np.ndarray]
Trace = Callable[[Op, Arrays, Arrays], None]


class _Program:
    """One program of the grid. `env` holds a NumPy array of the tile's shape (scalars: shape ()) for each value."""

    def __init__(self, memory: Memory, pid: tuple[int, ...], grid: tuple[int, ...], output: Callable[[str], object],
                 trace: Trace | None) -> None:  # fmt: skip
        self.memory, self.pid, self.grid, self.output, self.trace = memory, pid, grid, output, trace
        self.env: dict[Value, np.ndarray] = {}

    def block(self, block: Block, args: Sequence[np.ndarray] = ()) -> Arrays:
        """Runs a block and gives what its terminator yields."""
        env, trace = self.env, self.trace
        env.update(zip(block.args, args, strict=True))
        for op in block.ops:
            operands = [env[v] for v in op.operands]
            if op.has("terminator"):
                return operands
            handler = _HANDLERS.get(op.name)
            if handler is not None:
                results = handler(self, op, operands)
            elif evaluable(op):
                results = evaluate(op, operands)
            else:
                raise InternalCompilerError(f"the interpreter has no meaning for op {op.name}: please report this bug of zmlx")
            env.update(zip(op.results, results, strict=True))
            if trace is not None:
                trace(op, operands, results)
        return []

    def error(self, kind: type[ZmlxError], op: Op, what: str, remedy: str) -> ZmlxError:
        where = f"{op.loc}: " if op.loc else ""
        shown = f"\n\n{excerpt(op.loc)}" if op.loc else ""
        return kind(f"{where}{what}, in program {self.pid}{shown}\n\n  instead: {remedy}")

    def access(self, op: Op, verb: str, run: Callable[[], Any]) -> Any:
        try:
            return run()
        except AccessFault as fault:
            remedy = "mask the accesses that leave the array: mask=offsets < n"
            raise self.error(DeviceAccessError, op, f"{verb} {fault}", remedy) from None


def _elem(op: Op) -> DType:
    elem: Any = op.operands[0].type.elem
    return elem.elem


def _load(p: _Program, op: Op, xs: Arrays) -> Arrays:
    mask, other = xs[1:] if len(xs) == 3 else (None, None)
    return [p.access(op, "a load reads", lambda: p.memory.load(xs[0], _elem(op), mask, other))]


def _store(p: _Program, op: Op, xs: Arrays) -> Arrays:
    mask = xs[2] if len(xs) == 3 else None
    p.access(op, "a store writes", lambda: p.memory.store(xs[0], _elem(op), xs[1], mask))
    return []


def _atomic_rmw(p: _Program, op: Op, xs: Arrays) -> Arrays:
    combine, new = KINDS[op.attrs["kind"]], np.ascontiguousarray(xs[1]).reshape(-1)
    mask = xs[2] if len(xs) == 3 else None
    step = lambda old, i: combine(old, new[i : i + 1]).astype(old.dtype)  # noqa: E731
    return [p.access(op, "an atomic operation", lambda: p.memory.update(xs[0], _elem(op), mask, step))]


def _atomic_cas(p: _Program, op: Op, xs: Arrays) -> Arrays:
    expected, new = (np.ascontiguousarray(x).reshape(-1) for x in xs[1:])
    step = lambda old, i: np.where(old == expected[i : i + 1], new[i : i + 1], old)  # noqa: E731
    return [p.access(op, "an atomic operation", lambda: p.memory.update(xs[0], _elem(op), None, step))]


def _combine(p: _Program, op: Op, left: Arrays, right: Arrays) -> Arrays:
    """The combine region on many elements at once, or one by one where it holds control flow."""
    region, shape = op.regions[0], left[0].shape
    if not any(o.has("structured") for o in region.walk()):
        return [np.broadcast_to(x, shape) for x in p.block(region, [*left, *right])]
    out = [np.empty_like(x) for x in left]
    for i in np.ndindex(shape):
        for slot, x in zip(out, p.block(region, [np.asarray(x[i]) for x in (*left, *right)]), strict=True):
            slot[i] = x
    return out


def _reduce(p: _Program, op: Op, xs: Arrays) -> Arrays:
    """Neighbours are combined, then neighbouring results, and so on."""
    parts = [np.moveaxis(x, op.attrs["axis"], 0) for x in xs]
    while len(parts[0]) > 1:
        parts = _combine(p, op, [x[0::2] for x in parts], [x[1::2] for x in parts])
    return [x[0] for x in parts]


def _scan(p: _Program, op: Op, xs: Arrays) -> Arrays:
    axis, reverse = op.attrs["axis"], op.attrs.get("reverse", False)
    parts = [np.moveaxis(x, axis, 0)[:: -1 if reverse else 1] for x in xs]
    rows = [[x[0] for x in parts]]
    for i in range(1, len(parts[0])):
        rows.append(_combine(p, op, rows[-1], [x[i] for x in parts]))
    columns = (np.stack(column)[:: -1 if reverse else 1] for column in zip(*rows, strict=True))
    return [np.moveaxis(column, 0, axis) for column in columns]


def _dot(p: _Program, op: Op, xs: Arrays) -> Arrays:
    """Floats are summed in float64 and rounded once, integers wrap."""
    a, b, acc = xs
    source: Any = op.operands[0].type.elem
    out = accumulator(source)
    wide = np.float64 if out.is_float else np.int64
    # Contiguous, so that equal tiles are summed in one order however they came to be.
    total = acc.astype(wide) + np.ascontiguousarray(a, wide) @ np.ascontiguousarray(b, wide)
    return [round_to(total, out) if out.is_float else total.astype(out.compute)]


def _for(p: _Program, op: Op, xs: Arrays) -> Arrays:
    lo, hi, step = (int(x) for x in xs[:3])
    if step <= 0:
        raise p.error(DeviceAssertError, op, f"a range has step {step}", "use a positive step")
    state, index = xs[3:], xs[0].dtype
    for i in range(lo, hi, step):
        state = p.block(op.regions[0], [np.array(i, index), *state])
    return state


def _while(p: _Program, op: Op, xs: Arrays) -> Arrays:
    while p.block(op.regions[0], xs)[0]:
        xs = p.block(op.regions[1], xs)
    return xs


def _if(p: _Program, op: Op, xs: Arrays) -> Arrays:
    return p.block(op.regions[0 if xs[0] else 1])


def _number(x: Any, t: Type, hex: bool) -> str:
    if isinstance(t.elem, Pointer):
        return f"{int(x):#x}"
    if hex:
        raw = encode(np.asarray([x]), t.elem)
        return f"{int(raw.view(f'u{raw.itemsize}')[0]):#0{2 * raw.itemsize + 2}x}"
    return str(int(x)) if t.elem.is_int else f"{float(x):g}"


def _device_print(p: _Program, op: Op, xs: Arrays) -> Arrays:
    prefix = op.attrs.get("prefix", "")
    if not xs:
        p.output(f"pid {p.pid} {prefix}")
    for k, (v, x) in enumerate(zip(op.operands, xs, strict=True)):
        label = prefix if len(xs) == 1 else f"{prefix} (operand {k})"
        for i in np.ndindex(x.shape):
            index = "(" + ", ".join(map(str, i)) + ")"
            p.output(f"pid {p.pid} idx {index} {label}: {_number(x[i], v.type, bool(op.attrs.get('hex')))}")  # type: ignore[arg-type]
    return []


def _device_assert(p: _Program, op: Op, xs: Arrays) -> Arrays:
    failed = ~xs[0] if len(xs) == 1 else ~xs[0] & xs[1]
    if failed.any():
        at = "" if not failed.shape else f" at element {tuple(int(i) for i in np.argwhere(failed)[0])}"
        message = op.attrs.get("message") or "the condition does not hold"
        raise p.error(DeviceAssertError, op, f"device assertion failed{at}: {message}", "make the condition hold, or remove the assertion")
    return []


def _nothing(p: _Program, op: Op, xs: Arrays) -> Arrays:
    return []


_HANDLERS: Mapping[str, Callable[[_Program, Op, Arrays], Arrays]] = {
    "program_id": lambda p, op, xs: [np.array(p.pid[op.attrs["axis"]], np.int32)],
    "num_programs": lambda p, op, xs: [np.array(p.grid[op.attrs["axis"]], np.int32)],
    "load": _load,
    "store": _store,
    "atomic_rmw": _atomic_rmw,
    "atomic_cas": _atomic_cas,
    "reduce": _reduce,
    "scan": _scan,
    "dot": _dot,
    "for": _for,
    "while": _while,
    "if": _if,
    "device_print": _device_print,
    "device_assert": _device_assert,
    "debug_barrier": _nothing,
    "assume": _nothing,
}


def run(
    fn: Function,
    arrays: Mapping[str, np.ndarray],
    scalars: Mapping[str, int | float | bool],
    grid: Sequence[int],
    output: Callable[[str], object] = print,
    trace: Trace | None = None,
) -> None:
    """Runs every program of the grid in order, x fastest; the arrays are updated in place.

    arrays: flat contiguous storage arrays by parameter name (bfloat16 as uint16). scalars: the other parameters.
    output receives each line of device_print; trace, if given, each op with its operands and results as it is run.
    Raises DeviceAccessError for an active access outside of its array, DeviceAssertError for a failed device_assert.
    """
    memory = Memory(arrays)
    sizes = (*map(int, grid), 1, 1)[:3]
    values = []
    for param in fn.params:
        t = param.value.type
        assert isinstance(t, Type)
        values.append(memory.base[param.name] if t.is_pointer else literal(scalars[param.name], t.dtype))
        assert values[-1].dtype == compute_dtype(t)
    with np.errstate(all="ignore"):
        for z in range(sizes[2]):
            for y in range(sizes[1]):
                for x in range(sizes[0]):
                    _Program(memory, (x, y, z), sizes, output, trace).block(fn.body, values)
