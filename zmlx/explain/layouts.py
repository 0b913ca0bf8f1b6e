"""Layouts and amounts in words."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from zmlx.simt.layout import Layout


def bases(layout: Layout, dim: int) -> list[tuple[int, str]]:
    """(step, who) of every bit that walks one dimension, smallest step first; who: "register", "lane" or "warp"."""
    groups = (("register", layout.reg), ("lane", layout.lane), ("warp", layout.warp))
    return sorted((b[dim], who) for who, group in groups for b in group if b[dim])


def copies(layout: Layout) -> int:
    """How many threads hold each element."""
    return 1 << sum(not any(b) for b in (*layout.lane, *layout.warp))


def spread(layout: Layout) -> str:
    """Who holds what: for each dimension its registers, lanes and warps, those that walk neighbours first."""
    parts = []
    for dim in reversed(range(len(layout.shape))):
        runs: list[list[object]] = []
        for _, who in bases(layout, dim):
            if runs and runs[-1][1] == who:
                runs[-1][0] = int(str(runs[-1][0])) * 2
            else:
                runs.append([2, who])
        text = " × ".join(f"{n} {who}s" for n, who in runs) or "one element"
        parts.append(f"axis {dim}: {text}" if len(layout.shape) > 1 else text)
    parts += [f"axis {dim} from its end" for dim, flip in enumerate(layout.flip) if flip]
    held = f"; every element is held by {copies(layout)} threads" if copies(layout) > 1 else ""
    return "; ".join(parts) + held


def shape(dims: Sequence[int]) -> str:
    return " × ".join(map(str, dims)) if dims else "one"


def size(dims: Sequence[int]) -> int:
    return prod(dims)


def amount(n: int) -> str:
    """Bytes, in the largest binary unit that is a whole or has one decimal."""
    value = float(n)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if value < 1024 or unit == "GiB":
            break
        value /= 1024
    return "1 byte" if n == 1 else f"{value:.1f}".removesuffix(".0") + f" {unit}"


def count(n: int, what: str) -> str:
    """3 barriers, 1 barrier."""
    return f"{n} {what}" if n == 1 else f"{n} {what}{'es' if what.endswith('s') else 's'}"
