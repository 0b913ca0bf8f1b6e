"""What a lowering decided, and about which op: kept only for `kernel.explain`, which puts it into words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from zmlx.errors import Loc
from zmlx.ir.core import Function, Op, Value
from zmlx.passes.axis_info import AxisInfo
from zmlx.simt.analysis import Plan


@dataclass(frozen=True, eq=False)
class Decision:
    """One choice of the lowering.

    kind    "load", "store", "atomic", "rows", "reduce", "scan", "dot", "convert", "stages", "ahead", "early", "late", "mask",
            "wait" or "barrier"
    op      the op of the Tile IR it is about; of a conversion: what made the tile, None for an argument of a region
    loc     the place on whose behalf code was emitted at the time
    facts   by kind: layouts, widths and the like, as the lowering names them
    """

    kind: str
    op: Op | None
    loc: Loc | None
    facts: Mapping[str, Any]


@dataclass
class Record:
    """One compilation, for who asks why: the optimised Tile IR, what is known of it, the decisions, and the SIMT IR."""

    decisions: list[Decision] = field(default_factory=list)
    axes: Mapping[Value, AxisInfo] = field(default_factory=dict)
    plan: Plan | None = None
    tile: Function | None = None
    simt: Function | None = None
