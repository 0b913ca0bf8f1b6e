"""Brings kept tiles into the layouts that a sink needs, before its loops start."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zmlx.ir.core import Value
from zmlx.simt.layout import Layout, register_map

if TYPE_CHECKING:
    from zmlx.simt.frame import Frame
    from zmlx.simt.lower import Lowering


def prepare(low: Lowering, wanted: list[tuple[Value, Layout]]) -> None:
    """Converts every kept tile below the given values that has no home that serves the layout."""
    seen: set[tuple[Value, Layout]] = set()
    stack = list(wanted)
    while stack:
        item = stack.pop()
        value, layout = item
        if item in seen or not value.type.shape:  # type: ignore[union-attr]
            continue
        seen.add(item)
        homes = low.homes.get(value)
        if homes is not None:
            for _, array in homes:
                low.flight.settle(array)
            if all(register_map(home, layout) is None for home, _ in homes):
                convert(low, value, layout)
            continue
        op = value.op
        if op is None or op.name == "splat":
            continue
        inner = low.pull_back(op, layout, value) if op.has("view") else layout
        stack += [(v, inner) for v in op.operands]


def convert(low: Lowering, value: Value, layout: Layout) -> None:
    """Moves a kept tile through shared memory into another layout, which becomes one more home of it."""
    home, array = low.homes[value][0]
    compact = Layout(layout.shape, tuple(b for b in layout.reg if any(b)), layout.lane, layout.warp, layout.flip)
    e, elem = low.e, value.type.elem
    waits = low.scratch.waits([(elem, value.type.size, "shared")])
    low.decided("convert", value.op, value=value, home=home, layout=compact, barriers=1 + waits)
    with low.scratch.array(elem, value.type.size) as shared:
        with e.guard(low.owner(home)), low.nest(home) as frame:
            index = frame.register((tuple(1 << b for b in range(len(home.reg))), 0))
            e.set(shared, flat_index(low, frame, home), e.get(array, index))
        low.barrier("shared")
        new = e.alloc(elem, compact.registers, "register", value.name)
        with low.nest(compact) as frame:
            index = frame.register((tuple(1 << b for b in range(len(compact.reg))), 0))
            e.set(new, index, e.get(shared, flat_index(low, frame, compact)))
    low.homes[value].append((compact, new))


def flat_index(low: Lowering, frame: Frame, layout: Layout) -> Value | int:
    """The row-major index of the current element in its tile."""
    total: Value | int = 0
    stride = 1
    for dim in reversed(range(len(layout.shape))):
        total = low.e.add(low.e.mul(frame.coordinate(layout, dim), stride), total)
        stride *= layout.shape[dim]
    return total
