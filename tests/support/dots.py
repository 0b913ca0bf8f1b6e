"""A kernel compiled with matrix instructions and without them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import zmlx
from zmlx import knobs


@contextmanager
def dot_is(how: str) -> Iterator[None]:
    """ZMLX_DOT for the `with` body: one of knobs.DOTS."""
    old = os.environ.get(knobs.DOT.name)
    os.environ[knobs.DOT.name] = how
    try:
        yield
    finally:
        if old is None:
            del os.environ[knobs.DOT.name]
        else:
            os.environ[knobs.DOT.name] = old


def both(kernel: Any, call: Callable[[Any], Any], hows: tuple[str, ...] = ()) -> list[Any]:
    """call(kernel) under each ZMLX_DOT; each gets a kernel of its own, since one that was launched stays as it is."""
    results = []
    for how in hows or (("auto", "threads", "plain") if zmlx.default_target() == "cuda" else ("auto", "plain")):
        with dot_is(how):
            results.append(call(zmlx.jit(kernel.fn)))
    return results
