"""`zmlx.jit`: a kernel that can be launched on MLX arrays."""

from __future__ import annotations

import contextlib
import gc
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from types import MethodType
from typing import TYPE_CHECKING, Any, overload

import mlx.core as mx

from zmlx import knobs
from zmlx.errors import ArgumentError, InternalCompilerError, TargetUnavailableError, ZmlxError
from zmlx.frontend.source import NO_DEFAULT, JitCallable, Parameter, source_places
from zmlx.runtime import cache, device, generated, mlx_backend, signature
from zmlx.runtime.fresh import EmptyArray
from zmlx.runtime.host_backend import HostKernel
from zmlx.runtime.launcher import Plan, argument_error, check_options
from zmlx.runtime.roles import Role, Scalar
from zmlx.runtime.signature import Bound
from zmlx.targets.compiled import Compiled

if TYPE_CHECKING:
    from zmlx.explain.report import Explanation
    from zmlx.ir.core import Function

_OPTIONS = {"num_warps": 4, "num_stages": None, "stream": None}
_MAX_PLANS = 4096


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """Compiling makes many objects that live to its end: looking for garbage among them finds none."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


class JitFunction(JitCallable):
    """A kernel: `kernel[grid](*args, num_warps=4, num_stages=…, stream=…, **constexprs)` launches it.

    grid    programs along up to three axes: an int, a tuple, or a function of a dict of all arguments that returns one.
    args    MLX arrays (pointers in the kernel), numbers, None, strings, dtypes, jit functions and tuples of constants.

    Arrays that the kernel writes are rebound in place to their new value, and returned: one array, or a tuple in
    parameter order, or None. On Metal and CUDA nothing is evaluated; elsewhere the kernel has run on return.

    Inputs are read as they were before the launch: an array passed twice, as an input and as an output, is read with its
    old content only. One passed as two outputs gets two separate new values, and the last parameter's stays.

    Raises a LaunchError before anything reaches a device, or a CompilationError that points at the kernel's line.
    """

    def __init__(self, fn: Callable[..., Any], *, do_not_specialize: Iterable[str | int] = ()) -> None:
        super().__init__(fn, do_not_specialize=do_not_specialize)
        self._plans: dict[Any, Plan] = {}
        self._compiled: dict[str, tuple[Compiled, Function | None]] = {}
        self._launch: Callable[..., Any] | None = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise ArgumentError(f"{self.__name__} is a kernel: say how many programs to run, {self.__name__}[grid](...)")

    def __getitem__(self, grid: Any) -> Callable[..., Any]:
        launch = self._launch or self._make_launch()
        # A method of the grid is cheaper to make and to call than a partial; there is none of None, which the launch refuses.
        return MethodType(launch, grid) if grid is not None else partial(launch, None)

    @property
    def launcher(self) -> Callable[..., Any]:
        """`kernel[grid](*args, **kwargs)` as one function of (grid, *args, **kwargs)."""
        return self._launch or self._make_launch()

    def compile(self, *args: Any, target: str | None = None, num_warps: int = 4, num_stages: int | None = None, **kwargs: Any) -> Compiled:
        """Compiles for a target without launching; needs no device.

        args    as for a launch; `zmlx.ArraySpec(shape, dtype)` stands for an array.
        target  "metal", "cuda", "cpu", "interpret" or "metal-sim"; by default the one that launches go to now.
        Returns the Compiled, with .target, .source, .tile_ir and .simt_ir.
        """
        name, values = self._given(args, kwargs, target, num_warps, num_stages)
        return self._compile(self._bind(values, name), name, num_warps, num_stages, ir_texts=True)[0]

    def explain(
        self, *args: Any, target: str | None = None, num_warps: int = 4, num_stages: int | None = None, grid: Any = None, **kwargs: Any
    ) -> Explanation:
        """Says in words what the compiler makes of the kernel for these arguments, line by line, and why; needs no device.

        args, target  as for `compile`; "metal", "cuda" or "cpu"
        grid          as for a launch, for the bytes that all programs move; None: of one program only
        Returns the Explanation: print it, or take its .entries, .totals and .to_json(). Raises as `compile` does.
        """
        from zmlx.runtime.explain import explained

        name, values = self._given(args, kwargs, target, num_warps, num_stages)
        return explained(self, self._bind(values, name), name, num_warps, num_stages, grid, values)

    def _given(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], target: str | None, num_warps: int, num_stages: int | None
    ) -> tuple[str, tuple[Any, ...]]:
        """The target and the values of all parameters that a call without a launch means."""
        problem = argument_error(self.__name__, self.params, len(args), kwargs)
        if problem is not None:
            raise problem
        name = device.known(target) if target is not None else device.current_target()
        given = dict(zip((p.name for p in self.params), args, strict=False)) | kwargs
        values = {"num_warps": num_warps, "num_stages": num_stages} | given
        check_options(self.__name__, num_warps, num_stages)
        return name, tuple(values.get(p.name, p.default) for p in self.params)

    # ---- the warm path ----------------------------------------------------------------------------------------------

    def _make_launch(self) -> Callable[..., Any]:
        """A Python function with the kernel's own signature, so that Python itself binds the arguments.

        It builds the key of the launch and calls the plan found under it. An argument that is absent has a key that no
        plan has, and is refused on the cold path. A kernel parameter that has an option's name (num_warps: tl.constexpr)
        receives the option.
        """
        env: dict[str, Any] = {
            "_plans": self._plans, "_plan_of": self.plan_of, "_refuse": self._refuse, "_array": mx.array, "_empty": EmptyArray,
            "_key": signature.key, "_plain": signature.plain_key, "_constant": signature.constant_key,
            "_chosen": device.chosen, "_device": device, "_int": int, "_float": float,
        }  # fmt: skip
        positional: list[str] = []
        named: list[str] = []
        keys = []
        for p in self.params:
            env[f"_default_{p.name}"] = _OPTIONS.get(p.name, NO_DEFAULT) if p.default is NO_DEFAULT else p.default
            (named if p.keyword_only else positional).append(f"{p.name}=_default_{p.name}")
            keys.append(_key_text(p))
        own = {p.name for p in self.params}
        named += [f"{name}={default!r}" for name, default in _OPTIONS.items() if name not in own]
        values = generated.listed(p.name for p in self.params)
        text = (
            f"def {self.__name__}({', '.join(['_grid', '/', *positional, '*_extra', *named, '**_unknown'])}):\n"
            f"    if _extra or _unknown:\n"
            f"        _refuse(_extra, _unknown)\n"
            f"    _where = _chosen() or _device.standing or _device.default_target()\n"
            f"    try:\n"
            f"        _plan = _plans[_where, num_warps, num_stages, {', '.join(keys)}]\n"
            f"    except (KeyError, TypeError):\n"
            f"        _values = ({values})\n"
            f"        _plan = _plan_of(_values, _where, num_warps, num_stages)\n"
            f"    return _plan.launch(_grid, stream, {values})\n"
        )
        self._launch = launch = generated.function(self.__name__, text, f"launch of {self.__name__}", env)
        return launch

    def plan_of(self, values: tuple[Any, ...], target: str, num_warps: int, num_stages: int | None) -> Plan:
        """The plan of a launch with these values of all parameters, in order; compiled and loaded now if need be."""
        key = self.plan_key(values, target, num_warps, num_stages)
        try:
            return self._plans[key]
        except (KeyError, TypeError):
            return self.load(key, *self.build(values, target, num_warps, num_stages))

    def plan_key(self, values: tuple[Any, ...], target: str, num_warps: int, num_stages: int | None) -> Any:
        """What distinguishes the plans of this kernel; a warm launch has the same key written out (`_key_text`)."""
        return target, num_warps, num_stages, *(_key_function(p)(v) for p, v in zip(self.params, values, strict=True))

    # ---- the cold path ----------------------------------------------------------------------------------------------

    def _refuse(self, extra: tuple[Any, ...], unknown: dict[str, Any]) -> None:
        given = len([p for p in self.params if not p.keyword_only]) + len(extra) if extra else 0
        raise argument_error(self.__name__, self.params, given, unknown) or ArgumentError("the arguments do not fit")

    def build(
        self, values: tuple[Any, ...], target: str, num_warps: Any, num_stages: Any
    ) -> tuple[dict[str, Bound], Compiled, Function | None]:
        """The text of a kernel for a launch, with what it was compiled for. Raises what a launch would."""
        absent = [p.name for p, v in zip(self.params, values, strict=True) if v is NO_DEFAULT]
        if absent:
            present = {p.name: None for p in self.params if p.name not in absent}
            raise argument_error(self.__name__, self.params, 0, present) or ArgumentError("arguments are missing")
        check_options(self.__name__, num_warps, num_stages)
        lack = device.missing(target)
        if lack:
            raise TargetUnavailableError(
                f"this machine cannot run the {target} target: {lack}. Here it can run {', '.join(device.targets())}; "
                "kernel.compile(..., target=…) needs no device"
            )
        bound = self._bind(values, target)
        for name, v in zip(bound, values, strict=True):
            if isinstance(v, signature.ArraySpec):
                raise ArgumentError(f"{name} is an ArraySpec, which has no data: it is for {self.__name__}.compile(...)")
            if isinstance(v, mx.array):
                signature.refuse_empty(name, v)
        return (bound, *self._compile(bound, target, num_warps, num_stages, ir_texts=False))

    def traced(self, values: tuple[Any, ...], target: str) -> Function:
        """The kernel's optimised Tile IR for a launch. Raises a CompilationError, or what a launch would."""
        from zmlx.frontend.codegen import trace
        from zmlx.passes.pipeline import optimize

        return optimize(trace(self, {name: b.arg for name, b in self._bind(values, target).items()}))

    def load(self, key: Any, bound: Mapping[str, Bound], compiled: Compiled, function: Function | None) -> Plan:
        """The plan of a built kernel, kept under its key. Runs the C++ compiler or NVRTC: threads may load at once."""
        plan = self._plan(compiled, function, bound, compiled.target)
        plan.origin = (self, *key[1:3])
        if len(self._plans) >= _MAX_PLANS:
            self._plans.clear()
        with contextlib.suppress(TypeError):  # a constant that cannot be hashed
            self._plans[key] = plan
        return plan

    def _bind(self, values: tuple[Any, ...], target: str) -> dict[str, Bound]:
        guarded = bool(getattr(device.target(target), "guards_alignment", False))
        return {
            p.name: signature.bind(
                p.name, v, is_constexpr=p.is_constexpr, specialize=not p.do_not_specialize, target=target, guarded=guarded
            )
            for p, v in zip(self.params, values, strict=True)
        }

    def _compile(
        self, bound: Mapping[str, Bound], target: str, num_warps: int, num_stages: int | None, ir_texts: bool
    ) -> tuple[Compiled, Function | None]:
        """The compiled kernel, from memory, the disk or the compiler; with its Tile IR where it was traced now."""
        args = {name: b.arg for name, b in bound.items()}
        arrays = [name for name, b in bound.items() if isinstance(b.arg, signature.ArrayArg)]
        gpu = device.target(target).is_simt
        # On the host the text is the same, whatever an array held; the launch prepares its content.
        inout = [name for name in arrays if gpu and not bound[name].fresh]
        stages = num_stages if gpu else None
        how = (knobs.dot(), "tensor ops" * device.target(target).tensor_ops, "scalar" * (knobs.CPU_SIMD.get() == "0"))
        key = "\n".join((signature.describe(args), target, str(num_warps), str(stages), ",".join(inout), "ir" * ir_texts, *how))
        found = self._compiled.get(key)
        if found is None:
            found = self._compiled[key] = self._compile_anew(key, args, target, num_warps, stages, frozenset(inout), ir_texts)
        return found

    def _compile_anew(
        self, key: str, args: Mapping[str, Any], target: str, num_warps: int, num_stages: int | None, inout: frozenset[str], ir_texts: bool
    ) -> tuple[Compiled, Function | None]:
        # Moved code is the same code, unless its places are a part of what is compiled.
        places = [source_places(f) for f in (self, *signature.functions(args))] if device.target(target).maps_lines else []
        stored = cache.digest("kernel-1", cache.fingerprint(), self.__module__, self.__qualname__, self.source_hash, key, *places)
        if target != "interpret":  # which runs the traced IR, with the user's lines in it
            text = cache.get("kernels", stored)
            if text is not None:
                try:
                    return Compiled.from_json(text), None
                except (ValueError, KeyError, TypeError):
                    pass
        function = None
        try:
            from zmlx.frontend.codegen import trace
            from zmlx.targets.compile import compile_function

            with _no_collection():
                function = trace(self, args)
                compiled = compile_function(function, device.target(target), num_warps, inout, ir_texts, num_stages)
        except ZmlxError:
            raise
        except Exception as e:
            raise InternalCompilerError(
                f"zmlx failed on {self.__name__} for {target} ({type(e).__name__}: {e}). This is a bug of zmlx, not of the kernel: "
                f"please report it with the kernel{_dump(function)}"
            ) from e
        if target != "interpret":
            cache.put("kernels", stored, compiled.to_json().encode())
        return compiled, function

    def _plan(self, compiled: Compiled, function: Function | None, bound: Mapping[str, Bound], target: str) -> Plan:
        places = {name: i for i, name in enumerate(bound)}
        roles, arrays, kinds, scalars = [], [], [], []
        for p in compiled.params:
            dtype = signature.as_dtype(p.dtype_name)
            if not p.is_array:
                kinds.append(Scalar(p.name, dtype, p.word))
                scalars.append(places[p.name])
                continue
            writes, b = p.writes or p.atomic, bound[p.name]
            touched = p.reads or p.atomic
            content = None if not writes else "old" if not b.fresh else "zeros" if b.zeroed or touched else None
            roles.append(Role(p.name, p.symbol, dtype, writes, content))
            arrays.append(places[p.name])
        written = [places[r.name] for r in roles if r.writes]
        backend: Any
        if target == "cpu":
            backend = HostKernel(compiled, roles, kinds)
        elif target == "interpret":
            from zmlx.runtime.interpret_backend import InterpretedKernel

            assert function is not None
            backend = InterpretedKernel(function, roles, kinds)
        else:
            backend = mlx_backend.KERNELS[target](compiled, roles, kinds)
        return Plan(self.__name__, tuple(bound), target, compiled.threads, arrays, written, scalars, backend.execute)


def _key_function(p: Parameter) -> Callable[[Any], Any]:
    return signature.constant_key if p.is_constexpr else signature.plain_key if p.do_not_specialize else signature.key


def _key_text(p: Parameter) -> str:
    """`_key_function(p)` of a parameter as an expression, with the usual cases in place."""
    n = p.name
    if p.is_constexpr:
        return f"{n} if {n}.__class__ is _int else _constant({n})"
    array = f"{n}.dtype if (_c := {n}.__class__) is _array else (_c, {n}.dtype) if _c is _empty else"
    if p.do_not_specialize:
        return f"{array} _plain({n})"
    number = f'"f32" if _c is _float else ("i32" if {n} & 15 else "i32/16") if _c is _int and 1 < {n} <= {signature.INT32_MAX} else'
    return f"{array} {number} _key({n})"


def _dump(function: Function | None) -> str:
    """Where the Tile IR was written for a report."""
    if function is None:
        return ""
    try:
        handle, path = tempfile.mkstemp(prefix="zmlx-bug-", suffix=".ir")
        with os.fdopen(handle, "w") as f:
            f.write(str(function))
    except Exception:
        return ""
    return f" and its IR: {path}"


@overload
def jit(fn: Callable[..., Any], /) -> JitFunction: ...
@overload
def jit(*, do_not_specialize: Iterable[str | int] = ()) -> Callable[[Callable[..., Any]], JitFunction]: ...
def jit(fn: Callable[..., Any] | None = None, /, *, do_not_specialize: Iterable[str | int] = ()) -> Any:
    """Makes a kernel of a Python function: `@zmlx.jit`, or `@zmlx.jit(do_not_specialize=["n"])`.

    do_not_specialize: names or positions of parameters whose value must not become part of the compiled kernel (an int
    is else specialised on being 1 and on divisibility by 16).
    """
    if fn is None:
        return lambda f: JitFunction(f, do_not_specialize=do_not_specialize)
    return JitFunction(fn)
