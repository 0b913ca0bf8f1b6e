"""The GPU backends against stand-ins for mx.fast: what is passed, in which order, and how updates are wired."""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import Any

import mlx.core as mx
import pytest

from zmlx import dtypes as dt
from zmlx.runtime import mlx_backend
from zmlx.runtime.roles import Role, Scalar
from zmlx.targets.compiled import Compiled

INT, LONG, FLOAT, BOOL = (Scalar(n, d, w) for n, d, w in (("n", dt.int32, 0), ("m", dt.int64, 1), ("a", dt.float32, 3), ("b", dt.int1, 4)))


def compiled(target: str, inout: tuple[str, ...] = ()) -> Compiled:
    return Compiled(target, "zm_k", "text", "", "", 4, 128, 0, 0, (), "header", inout)


def role(name: str, writes: bool = False, content: str | None = None) -> Role:
    return Role(name, name, dt.float32, writes, content)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Every call of a custom kernel; its outputs hold the number of the call."""
    made: list[dict[str, Any]] = []

    def run(**kw: Any) -> list[mx.array]:
        made.append(kw)
        return [mx.full(s, len(made), d) for s, d in zip(kw["output_shapes"], kw["output_dtypes"], strict=True)]

    def metal_kernel(**built: Any) -> Any:
        return lambda **kw: run(**built, **kw)

    monkeypatch.setattr(mx.fast, "precompiled_cuda_kernel", run)
    monkeypatch.setattr(mx.fast, "metal_kernel", metal_kernel)
    monkeypatch.setattr(mlx_backend.toolchain, "build_cubin", lambda source, arch: b"cubin")
    monkeypatch.setattr(mlx_backend.toolchain, "cuda_arch", lambda: "sm_90a")
    mlx_backend._cuda_copies.cache_clear()
    mlx_backend._metal_copy.cache_clear()
    return made


def test_cuda_passes_scalars_as_words(calls: list[dict[str, Any]]) -> None:
    kernel = mlx_backend.CudaKernel(compiled("cuda"), [role("x"), role("out", True)], [INT, LONG, FLOAT, BOOL])
    x = mx.zeros((4, 4))
    (new,) = kernel.execute((x, mx.zeros((4, 4))), (7, -2, -1e300, True), (3, 2, 1), None)
    (call,) = calls
    bits = struct.unpack("<i", struct.pack("<f", -float("inf")))[0]
    assert list(call["scalars"]) == [7, -2, -1, bits, 1] and call["grid"] == (3 * 128, 2, 1) and call["threadgroup"] == (128, 1, 1)
    assert call["inputs"] == [x] and call["init_value"] is None and new.shape == (4, 4)


@pytest.mark.parametrize("backend", [mlx_backend.CudaKernel, mlx_backend.MetalKernel])
def test_updates_run_on_a_private_copy_and_settle_after(calls: list[dict[str, Any]], backend: Any) -> None:
    roles = [role("keep", True, "old"), role("x"), role("out", True, "zeros")]
    kernel = backend(compiled("cuda", ("keep", "x")), roles, [])
    keep, x, out = mx.zeros((4, 4)), mx.zeros((16,)), mx.zeros((2, 8))
    new = kernel.execute((keep, x, out), (), (1, 1, 1), None)
    copy, k, settle = calls
    assert "copy" in copy["name"] and copy["inputs"][0] is keep
    assert k["name"] == "zm_k" and k["inputs"][0] is x and k["inputs"][1].tolist()[0][0] == 1 and k["init_value"] == 0.0
    assert k["output_shapes"] == [(2, 8)] and "settle" in settle["name"]
    assert any(a.size == 16 and a.tolist()[0][0] == 2 for a in settle["inputs"] if a.shape == (2, 8))  # after K's output
    assert [n.tolist()[0][0] for n in new] == [3, 2]  # in parameter order


def test_a_kernel_without_fresh_outputs_declares_a_token(calls: list[dict[str, Any]]) -> None:
    kernel = mlx_backend.CudaKernel(compiled("cuda", ("a", "b")), [role("a", True, "old"), role("b", True, "old")], [])
    new = kernel.execute((mx.zeros((8,)), mx.zeros((9,))), (), (1, 1, 1), None)
    assert [c["name"] for c in calls] == ["zm_copy4", "zm_copy4", "zm_k", "zm_settle4", "zm_settle4"]
    assert calls[2]["output_shapes"] == [(1,)] and calls[2]["output_dtypes"] == [mx.uint32]
    assert [n.shape for n in new] == [(8,), (9,)]
    token = calls[3]["inputs"][1]
    assert token.shape == (1,) and calls[4]["inputs"][1] is token


@pytest.mark.parametrize("kept", [False, True])
def test_a_workspace_is_one_more_output_that_nobody_gets(calls: list[dict[str, Any]], kept: bool) -> None:
    made = replace(compiled("cuda", ("keep",) if kept else ()), workspace_bytes=384)
    roles = [role("x"), role("out", True)] + ([role("keep", True, "old")] if kept else [])
    new = mlx_backend.CudaKernel(made, roles, []).execute(tuple(mx.zeros((8 + i,)) for i in range(len(roles))), (), (3, 2, 1), None)
    k = calls[1 if kept else 0]
    assert k["output_shapes"] == [(9,), (6 * 384,)] and k["output_dtypes"] == [mx.float32, mx.uint8]
    assert [n.shape for n in new] == [(9,), (10,)][: 1 + kept]


def test_metal_pads_small_inputs_and_packs_scalars(calls: list[dict[str, Any]]) -> None:
    kernel = mlx_backend.MetalKernel(compiled("metal", ("y",)), [role("x"), role("y", True, "old")], [INT, LONG, FLOAT, BOOL])
    (new,) = kernel.execute((mx.array(5.0), mx.array([1.0, 2.0])), (7, 2**40, 1.5, True), (2, 1, 1), mx.cpu)
    k = calls[1]
    assert k["input_names"] == ["x", "y", "zm_scalars"] and k["output_names"] == ["zm_token"] and k["header"] == "header"
    assert k["inputs"][0].tolist() == [5.0] + [0.0] * 7 and k["inputs"][1].shape == (8,)
    one_and_a_half = struct.unpack("<I", struct.pack("<f", 1.5))[0]
    assert k["inputs"][2].tolist() == [7, 0, 256, one_and_a_half, 1, 0, 0, 0] and k["inputs"][2].dtype == mx.uint32
    assert new.shape == (2,)
    kernel.execute((mx.array(5.0), mx.array([1.0, 2.0])), (7, 2**40, 1.5, True), (2, 1, 1), mx.cpu)
    assert calls[4]["inputs"][2] is k["inputs"][2]  # the same pack
