"""Errors a user can cause, one class a kind, and how they are shown.

Every compile error carries the place in the user's source, with the whole offending expression underlined, what is
wrong, and what to write instead; inside inlined functions also the chain of calls that led there. Whatever else goes
wrong inside the compiler is an `InternalCompilerError`: zmlx's bug, never the user's.
"""

from __future__ import annotations

import linecache
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Loc:
    """A span of user source, and the call sites through which it was inlined (innermost first)."""

    file: str
    line: int
    col: int
    end_line: int
    end_col: int
    function: str = ""
    caller: Loc | None = None

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.col + 1}"


def excerpt(loc: Loc) -> str:
    """The source lines of a span with the span underlined by carets."""
    last = min(loc.end_line, loc.line + 5)
    rows = []
    width = len(str(last))
    for number in range(loc.line, last + 1):
        text = linecache.getline(loc.file, number).rstrip("\n")
        start = loc.col if number == loc.line else len(text) - len(text.lstrip())
        stop = loc.end_col if number == loc.end_line else len(text)
        rows.append(f"  {number:>{width}} | {text}")
        before = "".join(c if c == "\t" else " " for c in text[:start])  # tabs stay, so that the carets stand below
        rows.append(f"  {'':>{width}} | {before}{'^' * max(1, stop - start)}")
    return "\n".join(rows)


class ZmlxError(Exception):
    """The base of everything zmlx raises on purpose."""


class CompilationError(ZmlxError):
    """A kernel that cannot be compiled: `message` says what is wrong, `remedy` what to write instead."""

    def __init__(self, message: str, remedy: str = "", loc: Loc | None = None) -> None:
        super().__init__(message)
        self.message, self.remedy, self.loc = message, remedy, loc

    def at(self, loc: Loc | None) -> CompilationError:
        """Names the place if none is named yet; the innermost caller to do so wins."""
        if self.loc is None:
            self.loc = loc
        return self

    def __str__(self) -> str:
        parts = [self.message]
        if self.loc is not None:
            parts = [f"{self.loc}: {self.message}", "", excerpt(self.loc)]
        if self.remedy:
            parts += ["", f"  instead: {self.remedy}"]
        caller = self.loc.caller if self.loc else None
        inner = self.loc.function if self.loc else ""
        while caller is not None:
            parts += ["", f"  {inner}() was called from {caller}:", excerpt(caller)]
            inner, caller = caller.function, caller.caller
        return "\n".join(parts)


class UnsupportedSyntaxError(CompilationError):
    """Python that the kernel language does not have (a comprehension, `try`, a return inside a loop …)."""


class UndefinedNameError(CompilationError):
    """A name that is not defined, or only on some path."""


class GlobalNameError(CompilationError):
    """A Python global that a kernel may not read."""


class UnknownAttributeError(CompilationError):
    """An attribute or a `tl` function that does not exist."""


class CallError(CompilationError):
    """A call whose arguments do not fit the callee's signature."""


class NotCallableError(CompilationError):
    """A call of something that a kernel cannot call."""


class ConstexprError(CompilationError):
    """A run-time value where a compile-time constant is needed, or a constant that is out of range."""


class DtypeError(CompilationError):
    """Operand element types that an operation does not take."""


class ShapeError(CompilationError):
    """Shapes that do not broadcast or fit."""


class TileSizeError(ShapeError):
    """A tile dimension that is not a power of two, or a tile with too many elements."""


class LiteralRangeError(CompilationError):
    """A Python number that the other operand's type cannot hold."""


class PointerError(CompilationError):
    """A pointer where a value is meant, or a value where a pointer is meant."""


class MaskError(CompilationError):
    """A mask or `other` that does not fit its load or store."""


class ControlFlowError(CompilationError):
    """A branch or loop whose paths disagree, or a condition that is no scalar."""


class CarriedTypeError(ControlFlowError):
    """A name that changes its type in a loop or between branches."""


class IndexingError(CompilationError):
    """A subscript that tiles or tuples do not have."""


class ReduceError(CompilationError):
    """A reduction or scan whose axis or combine function does not fit."""


class DotError(CompilationError):
    """Operands of `tl.dot` that do not fit."""


class StaticAssertError(CompilationError):
    """A `tl.static_assert` that does not hold."""


class RecursionLimitError(CompilationError):
    """Device functions that call each other in a circle, or nest too deep."""


class TargetError(CompilationError):
    """What the chosen target cannot do; the message names the operation and the target."""


class ResourceError(TargetError):
    """More threadgroup memory, threads or buffers than the target has."""


class LaunchError(ZmlxError):
    """A launch that is refused before anything reaches a device."""


class ArgumentError(LaunchError):
    """Wrong number, names or kinds of arguments."""


class GridError(LaunchError):
    """A grid that is empty, too large or no tuple of integers."""


class ArrayError(LaunchError):
    """An array that a kernel cannot take (dtype, kind, size)."""


class LaunchOptionError(LaunchError):
    """A launch option (num_warps, num_stages, stream) out of range."""


class AutotuneError(LaunchError):
    """An autotuned kernel whose configs, key or options do not fit it, or none of whose configs can run."""


class TargetUnavailableError(LaunchError):
    """A target that this machine cannot run; the message says what is missing."""


class ToolchainError(ZmlxError):
    """A compiler that is absent or failed on generated text; the message holds its output."""


class DeviceAssertError(ZmlxError):
    """A `tl.device_assert` that did not hold; names the program and the user's line."""


class DeviceAccessError(ZmlxError):
    """An access out of an array's bounds, seen by the interpreter."""


class InternalCompilerError(ZmlxError):
    """A bug of zmlx. The message says how to report it."""


class CacheWarning(UserWarning):
    """The cache folder cannot be used; zmlx goes on without it."""


class AutotuneWarning(UserWarning):
    """An autotuned kernel runs a config that was chosen without timing it; says why and what to do."""


class NativeWarning(UserWarning):
    """The zmlx-native extension is installed and cannot be used; zmlx goes on without it."""
