"""Launches on Metal and CUDA as lazy primitives of MLX's graph. The only file that calls mx.fast.*.

What is here for Metal also runs without one: `SimulatedKernel` hands the same text, the same buffers and the same launches
to the simulator, which runs them on the CPU.

Inputs of MLX's custom kernels are const and outputs are fresh buffers. A kernel K that updates an array, or writes it in
part, therefore runs on a private copy c: made by a custom copy kernel (a custom primitive, which mx.compile never merges
with an equal one), passed as an input, and written through. What K declares as an output (a fresh one, or a token) makes
a second copy kernel R(c, token) come after K, and R's output is the new value. mx.depends would order the graph's nodes,
but not the buffers inside Metal's and CUDA's own graphs.

mx.fast.precompiled_cuda_kernel takes bool and int32 scalars (MLX 0.32.4 refuses the floats that its message asks for,
and NumPy's numbers): every scalar travels as the int32 of the same bits, a 64-bit one as two, low first.
Metal binds inputs of fewer than 8 elements as `constant`, a different type in the text: they are padded to 8.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable, Sequence
from types import MethodType
from typing import Any

import mlx.core as mx

from zmlx.errors import LaunchError
from zmlx.runtime import cuda_driver, generated, signature, toolchain
from zmlx.runtime.roles import Role, Scalar, layout, packer
from zmlx.targets.compiled import Compiled

_LEAST = 8  # elements of an input on Metal
_COPY_THREADS = 256
_COPY_BLOCKS = 4096
_CUDA_COPIES = "".join(
    f"""
extern "C" __global__ void zm_copy{size}(const {t}* c, {t}* out, unsigned lo, unsigned hi) {{
  unsigned long long n = lo | (unsigned long long)hi << 32, step = (unsigned long long)gridDim.x * blockDim.x;
  for (unsigned long long i = blockIdx.x * (unsigned long long)blockDim.x + threadIdx.x; i < n; i += step) out[i] = c[i];
}}
extern "C" __global__ void zm_settle{size}(const {t}* c, const void*, {t}* out, unsigned lo, unsigned hi) {{
  unsigned long long n = lo | (unsigned long long)hi << 32, step = (unsigned long long)gridDim.x * blockDim.x;
  for (unsigned long long i = blockIdx.x * (unsigned long long)blockDim.x + threadIdx.x; i < n; i += step) out[i] = c[i];
}}"""
    for size, t in ((1, "unsigned char"), (2, "unsigned short"), (4, "unsigned int"), (8, "unsigned long long"))
)
_METAL_COPY = """
  ulong n = zm_n[0] | ((ulong)zm_n[1] << 32);
  for (ulong i = thread_position_in_grid.x; i < n; i += threads_per_grid.x) zm_out[i] = zm_in[i];
"""


def _words(value: int) -> tuple[int, int]:
    """A 64-bit pattern as two int32, low word first."""
    return struct.unpack("<ii", struct.pack("<Q", value & ((1 << 64) - 1)))


def _copy_threads(n: int) -> int:
    return min(-(-n // _COPY_THREADS), _COPY_BLOCKS) * _COPY_THREADS


class GpuKernel:
    """A kernel loaded for a GPU; the subclasses know how to call it and how to copy.

    execute  a launch, made by `executor`
    call     the launch proper, of MLX; fixed: arguments of it that are the same for all launches
    numbers  the text that ends its inputs and passes `bits`, the packed scalars; named: what else the text names
    """

    device: Any = mx.gpu  # where a launch without stream= goes
    execute: Callable[..., list[mx.array]]
    call: Callable[..., list[mx.array]]
    fixed: dict[str, Any]
    numbers: str
    named: dict[str, Any]

    def __init__(self, compiled: Compiled, roles: Sequence[Role], scalars: Sequence[Scalar]) -> None:
        self.compiled, self.roles, self.scalars = compiled, tuple(roles), tuple(scalars)
        inout = set(compiled.inout)
        self.reads = [i for i, r in enumerate(roles) if not r.writes]
        self.keeps = [i for i, r in enumerate(roles) if r.writes and r.name in inout]
        self.makes = [i for i, r in enumerate(roles) if r.writes and r.name not in inout]
        self.dtypes = [signature.MLX_OF[roles[i].dtype] for i in self.makes] or [mx.uint32]
        # One value initialises all outputs: zeros, where any output needs them.
        self.init = 0.0 if any(roles[i].content == "zeros" for i in self.makes) else None
        self.threadgroup = (compiled.threads, 1, 1)
        if compiled.workspace_bytes:  # one more output, which nobody keeps: no other launch has it at the same time
            self.dtypes.append(mx.uint8)

    def executor(self, call: Callable[..., list[mx.array]]) -> Callable[..., Any]:
        """Writes `execute(self, arrays, scalars, grid, stream)`: it adds the launch to the graph, by `call`, and returns the new
        values of the written arrays, in parameter order. Nothing is looked up there that is known here."""
        arrays = [f"a{i}" for i in range(len(self.roles))]
        passed = [*(self.input(f"a{i}") for i in self.reads), *(f"c{i}" for i in self.keeps)]
        settled = {i: f"self.output(self.copy(c{i}, outs[0], stream), a{i}.shape)" for i in self.keeps}
        new = settled | {i: f"outs[{k}]" for k, i in enumerate(self.makes)}
        workspace = self.compiled.workspace_bytes
        shapes = [f"a{i}.shape" for i in self.makes] or ["(1,)"]
        shapes += [f"(x * y * z * {workspace},)"] if workspace else []
        fixed = self.fixed | {"output_dtypes": self.dtypes, "threadgroup": self.threadgroup, "init_value": self.init}
        text = f"""
def execute(self, arrays, scalars, grid, stream):
    [{", ".join(arrays)}] = arrays
    if not ({" and ".join(f"{a}.size" for a in arrays) or True}):
        self.refuse_empty(arrays)
    if stream is None:
        stream = device
    try:
        bits = plain(*scalars)
    except OverflowError:
        bits = pack(*scalars)
    {"; ".join(f"c{i} = self.copy({self.input(f'a{i}')}, None, stream)" for i in self.keeps)}
    x, y, z = grid
    outs = call(inputs=[{generated.listed(passed)}{self.numbers},
        output_shapes=[{", ".join(shapes)}],
        grid=(x * threads, y, z), stream=stream, {", ".join(f"{name}={name}" for name in fixed)})
    return {f"[{', '.join(new[i] for i in sorted(new))}]" if self.keeps else "outs[:-1]" if workspace else "outs"}
"""
        plain = layout(self.scalars, {"?": "3x"}).pack
        env = {"device": self.device, "threads": self.compiled.threads, "plain": plain, "pack": packer(plain), "call": call}
        return generated.function("execute", text, f"launch on {self.compiled.target}", env | fixed | self.named)

    def bare(self, arrays: Sequence[mx.array], scalars: Sequence[Any], grid: tuple[int, int, int]) -> dict[str, Any]:
        """The arguments of `self.call` for this launch of a kernel that keeps no array's content."""
        seen: dict[str, Any] = {}

        def note(**given: Any) -> list[mx.array]:
            seen.update(given)
            return []

        self.executor(note)(self, arrays, scalars, grid, None)
        return seen

    def refuse_empty(self, arrays: Sequence[mx.array]) -> None:
        """Raises ArrayError: one of them has no elements."""
        for role, array in zip(self.roles, arrays, strict=True):
            signature.refuse_empty(role.name, array)

    def input(self, array: str) -> str:
        """An expression for the array of this name as the kernel's text expects it."""
        return array

    def output(self, array: mx.array, shape: tuple[int, ...]) -> mx.array:
        """The reverse of `input`."""
        return array

    def spilled_bytes(self) -> int:
        """Local memory of one thread, where the device can say it before a launch: what found no room in registers."""
        return 0

    def copy(self, array: mx.array, after: mx.array | None, stream: Any) -> mx.array:
        """A copy by a custom kernel; `after` names an array that must be there first."""
        raise NotImplementedError


class CudaKernel(GpuKernel):
    """Cubins built by NVRTC for this machine's GPU."""

    def __init__(self, compiled: Compiled, roles: Sequence[Role], scalars: Sequence[Scalar]) -> None:
        super().__init__(compiled, roles, scalars)
        self.cubin = toolchain.build_cubin(compiled.source, toolchain.cuda_arch())
        self.call = mx.fast.precompiled_cuda_kernel
        self.fixed = {"name": compiled.entry, "compiled_source": self.cubin, "shared_memory": compiled.shared_bytes}
        self.fixed["ensure_row_contiguous"] = True
        words = sum(2 if s.dtype.bits == 64 else 1 for s in scalars)
        self.numbers, self.named = "], scalars=words(bits)", {"words": struct.Struct(f"<{words}i").unpack}
        self.execute = MethodType(self.executor(self.call), self)

    def spilled_bytes(self) -> int:
        return cuda_driver.local_bytes(self.cubin, self.compiled.entry)

    def copy(self, array: mx.array, after: mx.array | None, stream: Any) -> mx.array:
        return mx.fast.precompiled_cuda_kernel(
            name=f"zm_{'copy' if after is None else 'settle'}{array.itemsize}",
            compiled_source=_cuda_copies(),
            inputs=[array] if after is None else [array, after],
            output_shapes=[array.shape],
            output_dtypes=[array.dtype],
            scalars=_words(array.size),
            grid=(_copy_threads(array.size), 1, 1),
            threadgroup=(_COPY_THREADS, 1, 1),
            ensure_row_contiguous=True,
            stream=stream,
        )[0]


@functools.lru_cache(maxsize=1)
def _cuda_copies() -> bytes:
    return toolchain.build_cubin(_CUDA_COPIES, toolchain.cuda_arch())


class _Packs(dict[bytes, mx.array]):
    """Packed scalars as arrays; those used recently are kept."""

    def __missing__(self, bits: bytes) -> mx.array:
        if len(self) >= 64:
            self.clear()
        words = struct.unpack(f"<{len(bits) // 4}I", bits)
        self[bits] = made = mx.array([*words, *[0] * (_LEAST - len(words))], mx.uint32)
        return made


def _padded(array: mx.array, stream: Any) -> mx.array:
    return mx.pad(array.reshape(-1), (0, _LEAST - array.size), stream=stream)


class MetalKernel(GpuKernel):
    """MSL text, compiled by MLX when it is first evaluated. Scalars travel in one small buffer."""

    @property
    def build(self) -> Callable[..., Any]:
        """What makes a kernel of a text."""
        return mx.fast.metal_kernel

    def __init__(self, compiled: Compiled, roles: Sequence[Role], scalars: Sequence[Scalar]) -> None:
        super().__init__(compiled, roles, scalars)
        names = [roles[i].symbol for i in (*self.reads, *self.keeps)]
        self.kernel = self.build(
            name=compiled.entry,
            input_names=[*names, "zm_scalars"] if scalars else names,
            output_names=[roles[i].symbol for i in self.makes] or ["zm_token"],
            source=compiled.source,
            header=compiled.header,
            ensure_row_contiguous=True,
        )
        self.call, self.fixed = self.kernel, {}
        self.numbers, self.named = "packs[bits]]" if scalars else "]", {"packs": _Packs(), "padded": _padded}
        self.execute = MethodType(self.executor(self.call), self)

    def input(self, array: str) -> str:
        return f"{array} if {array}.size >= {_LEAST} else padded({array}, stream)"

    def output(self, array: mx.array, shape: tuple[int, ...]) -> mx.array:
        n = 1
        for d in shape:
            n *= d
        return array if n >= _LEAST else array[:n].reshape(shape)

    def copy(self, array: mx.array, after: mx.array | None, stream: Any) -> mx.array:
        inputs = [array, _metal_count(array.size)] + ([] if after is None else [after])
        return _metal_copy(self.build, after is not None)(
            inputs=inputs,
            output_shapes=[array.shape],
            output_dtypes=[array.dtype],
            grid=(_copy_threads(array.size), 1, 1),
            threadgroup=(_COPY_THREADS, 1, 1),
            stream=stream,
        )[0]


class SimulatedKernel(MetalKernel):
    """The same text on the CPU. Eager: the kernel has run on return."""

    device = mx.cpu

    @property
    def build(self) -> Callable[..., Any]:
        from zmlx.simulator import metal_kernel  # late: few processes simulate

        return metal_kernel

    def __init__(self, compiled: Compiled, roles: Sequence[Role], scalars: Sequence[Scalar]) -> None:
        super().__init__(compiled, roles, scalars)
        self.kernel.python_line = compiled.line_map.place
        self.kernel.inout = frozenset(roles[i].symbol for i in self.keeps)

    def executor(self, call: Callable[..., list[mx.array]]) -> Callable[..., Any]:
        if not self.makes:
            self.init = 0.0  # nothing writes the token, which must not pass for a forgotten output
        run = super().executor(call)

        def execute(*launch: Any) -> Any:
            try:
                return run(*launch)
            except (RuntimeError, ValueError) as e:
                if "[eval]" not in str(e):
                    raise
                raise LaunchError(
                    "on the metal-sim target a launch runs at once, so it cannot be traced by mx.compile or mx.vmap; call it outside of "
                    "them, or launch on Metal or CUDA, where it is a part of the graph"
                ) from None

        return execute


KERNELS = {"cuda": CudaKernel, "metal": MetalKernel, "metal-sim": SimulatedKernel}


@functools.lru_cache(maxsize=4)
def _metal_copy(build: Callable[..., Any], settle: bool) -> Any:
    names = ["zm_in", "zm_n", "zm_after"] if settle else ["zm_in", "zm_n"]
    return build(name="zm_settle" if settle else "zm_copy", input_names=names, output_names=["zm_out"], source=_METAL_COPY)


@functools.lru_cache(maxsize=64)
def _metal_count(n: int) -> mx.array:
    return mx.array([n & 0xFFFFFFFF, n >> 32, *[0] * (_LEAST - 2)], mx.uint32)
