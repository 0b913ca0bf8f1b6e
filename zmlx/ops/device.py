"""Functions written in the kernel language, before anything has parsed them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from zmlx.errors import CallError


class DeviceFunction:
    """A Python function in the kernel language: kernels may call it, and the frontend inlines it there.

    fn      the Python function, which is parsed and never called
    name    its name
    """

    def __init__(self, fn: Callable[..., Any]) -> None:
        self.fn = fn
        self.name: str = fn.__name__
        functools.update_wrapper(self, fn)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise CallError(f"{self.name}() is a device function: it has no meaning outside a kernel", "call it from a @zmlx.jit function")

    def __repr__(self) -> str:
        return f"<device function {self.name}>"


def device_function(fn: Callable[..., Any]) -> DeviceFunction:
    """Marks a function as written in the kernel language (what `zmlx.jit` is to users, without launching)."""
    return DeviceFunction(fn)
