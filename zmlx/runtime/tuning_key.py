"""What a tuning holds for: the target, the values of the named arguments, and the dtype of every array."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import mlx.core as mx

from zmlx.frontend.source import NO_DEFAULT, source_hash
from zmlx.ops.device import DeviceFunction
from zmlx.runtime import device
from zmlx.runtime.configs import OPTIONS
from zmlx.runtime.fresh import EmptyArray
from zmlx.runtime.jit import JitFunction
from zmlx.runtime.signature import MLX_OF, ArraySpec

_UNSET = object()


def key_function(kernel: JitFunction, names: Sequence[str], sets: Collection[str]) -> Callable[..., tuple[Any, ...]]:
    """A function with the kernel's own signature, and the launch options, that returns the key of a launch.

    names  the arguments whose values count (of an array: its shape); sets: parameters that a launch must not pass, since
           the configs set them. Where one is passed, or the target is not the current one (`_target=`), the key says so.
    Raises TypeError for arguments that do not bind.
    """
    env: dict[str, Any] = {
        "_where": device.current_target, "_array": mx.array, "_empty": EmptyArray, "_dtype": dtype_of, "_value": value_of, "_unset": _UNSET,
    }  # fmt: skip
    positional: list[str] = []
    named: list[str] = []
    for p in kernel.params:
        env[f"_default_{p.name}"] = _UNSET if p.name in sets or p.name in OPTIONS else None if p.default is NO_DEFAULT else p.default
        (named if p.keyword_only else positional).append(f"{p.name}=_default_{p.name}")
    own = {p.name for p in kernel.params}
    named += [f"{n}=_unset" for n in OPTIONS if n not in own] + [f"{n}=None" for n in ("stream", "_target") if n not in own]
    taken = [n for n in (*sets, *OPTIONS) if n in own or n in OPTIONS]
    dtypes = [
        f"{p.name}.dtype if {p.name}.__class__ is _array or {p.name}.__class__ is _empty else _dtype({p.name})"
        for p in kernel.params
        if not p.is_constexpr and p.name not in taken
    ]
    values = [f"{n} if {n}.__class__ is int else _value({n})" for n in names]
    text = (
        f"def key({', '.join([*positional, '*', *named])}):\n"
        f"    _passed = None if {' is '.join(dict.fromkeys(taken))} is _unset else ({''.join(f'{n} is not _unset, ' for n in taken)})\n"
        f"    return _target or _where(), _passed, {''.join(t + ', ' for t in (*values, *dtypes))}\n"
    )
    exec(compile(text, f"<autotuning key of {kernel.__name__}>", "exec"), env)
    return env["key"]


def dtype_of(v: Any) -> Any:
    """The dtype of an array; None of anything else."""
    return v.dtype if isinstance(v, mx.array) else MLX_OF[v.dtype] if isinstance(v, ArraySpec) else None


def value_of(v: Any) -> Any:
    """What an argument counts for in a key."""
    return v.shape if isinstance(v, (mx.array, ArraySpec)) else v


def key_text(key: tuple[Any, ...], names: Sequence[str]) -> str:
    """A key in words, equal in every process."""
    target, _, *rest = key
    values = [f"{n}={_text(v)}" for n, v in zip(names, rest, strict=False)]
    dtypes = [str(d).removeprefix("mlx.core.") for d in rest[len(names) :] if d is not None]
    return ", ".join([*values, *dtypes, target])


def _text(v: Any) -> str:
    return f"{v.fn.__qualname__} {source_hash(v)}" if isinstance(v, DeviceFunction) else repr(v)
