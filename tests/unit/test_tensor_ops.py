"""When Metal 4's tensor operations are used, and what is said of it; their results are tests/target/test_dot_tensor_ops.py's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import mlx.core as mx
import pytest
from dot_kernels import transposed_kernel
from explained_kernels import dot_kernel

import zmlx
from zmlx.cli import doctor
from zmlx.runtime import device

HALF, FLOAT, BYTE, INT = (zmlx.ArraySpec((1,), d) for d in (mx.bfloat16, mx.float32, mx.int8, mx.int32))


@pytest.fixture
def on_a_mac(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], None]]:
    """Makes MLX, and Python, say that this is a Mac with a GPU of an architecture and a version of macOS."""

    def pretend(architecture: str, macos: str) -> None:
        monkeypatch.setattr(device, "_metal_is_available", lambda: True)
        monkeypatch.setattr(device, "standing", "")
        monkeypatch.setattr(device, "_device_info", lambda _: {"architecture": architecture})
        monkeypatch.setattr("platform.mac_ver", lambda: (macos, ("", "", ""), "arm64"))
        forget()

    yield pretend
    forget()


def forget() -> None:
    for known in (device.target, device._missing):
        known.cache_clear()


@pytest.mark.parametrize(
    ("architecture", "macos", "has"),
    [
        ("applegpu_g17g", "26.2", True),
        ("applegpu_g17s", "26.5.1", True),
        ("applegpu_g18d", "27.0", True),
        ("applegpu_g17s", "26.1", False),
        ("applegpu_g17s", "15.7", False),
        ("applegpu_g16s", "26.2", False),
        ("applegpu_g17p", "26.2", False),
        ("applegpu_g18p", "26.2", True),
        ("simulated", "26.2", False),
        ("applegpu_g17s", "", False),
    ],
)
def test_which_devices_have_them(architecture: str, macos: str, has: bool, on_a_mac: Any) -> None:
    assert device.has_tensor_ops(architecture, macos) is has
    on_a_mac(architecture, macos)
    assert device.target("metal").tensor_ops is has
    assert not any(device.target(name).tensor_ops for name in ("metal-sim", "cuda", "cpu", "interpret"))


def test_a_device_that_is_not_there_has_none() -> None:
    if not mx.metal.is_available():
        assert not device.target("metal").tensor_ops


def path(spec: zmlx.ArraySpec, m: int = 64, n: int = 64, k: int = 32, target: str = "metal") -> tuple[str, str]:
    """The path of a product, and what is said of it."""
    out = INT if spec.dtype.is_int else FLOAT
    found = dot_kernel.explain(spec, spec, out, M=m, N=n, K=k, target=target)
    (dot,) = (e for e in found.entries if e.kind == "dot")
    return dot.facts["path"], f"{dot.title} {' '.join(dot.words)}"


@pytest.mark.parametrize(
    ("asked", "has", "want", "says"),
    [
        ("auto", False, "simdgroup", "Not by tensor operations of Metal 4: the device is not known to have them."),
        ("auto", True, "simdgroup", "Not by tensor operations of Metal 4: they are taken where ZMLX_DOT=tensor asks for them."),
        ("tensor", False, "tensor_ops", "Simdgroups multiply 16 × 16 by 16 × 32 pieces"),
        ("simdgroup", True, "simdgroup", "Not by tensor operations of Metal 4: ZMLX_DOT=simdgroup is set."),
        ("plain", True, "staged", "because ZMLX_DOT=plain is set"),
    ],
)
def test_the_path_and_why(asked: str, has: bool, want: str, says: str, on_a_mac: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    on_a_mac("applegpu_g17s" if has else "applegpu_g16s", "26.2")
    monkeypatch.setenv("ZMLX_DOT", asked)
    found, words = path(HALF)
    assert found == want and says in words, words


@pytest.mark.parametrize(
    ("spec", "shape", "says"),
    [
        (BYTE, (64, 64, 32), "they are used for float16, bfloat16 and float32, not int8"),
        (FLOAT, (64, 64, 32), "input_precision='ieee' asks for more than they promise of float32"),
        (HALF, (64, 16, 32), "64 × 32 by 32 × 16 is too small: they multiply 16 × 16 by 16 × 32"),
        (HALF, (8, 64, 32), "8 × 32 by 32 × 64 is too small"),
    ],
)
def test_what_stays_with_simdgroup_matrices(
    spec: zmlx.ArraySpec, shape: tuple[int, int, int], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZMLX_DOT", "tensor")
    found, words = path(spec, *shape)
    assert found == "simdgroup" and f"Not by tensor operations of Metal 4: {says}" in words, words


def test_operands_by_columns_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZMLX_DOT", "tensor")
    found = transposed_kernel.explain(HALF, HALF, FLOAT, M=64, N=64, K=32, LOADS=True, target="metal")
    (dot,) = (e for e in found.entries if e.kind == "dot")
    assert "Lanes take the left and the right operands by columns, as memory has it, and the instruction transposes." in dot.words


def test_the_header_is_included_where_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = {}
    for asked in ("simdgroup", "tensor", "plain"):
        monkeypatch.setenv("ZMLX_DOT", asked)  # a part of the key: one kernel compiles to three texts
        texts[asked] = dot_kernel.compile(HALF, HALF, FLOAT, M=64, N=64, K=32, target="metal")
    uses = {asked: ("MetalPerformancePrimitives" in t.header, "metal_simdgroup_matrix" in t.header) for asked, t in texts.items()}
    assert uses == {"tensor": (True, False), "simdgroup": (False, True), "plain": (False, False)}


def test_no_device_takes_them_unasked(on_a_mac: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    on_a_mac("applegpu_g17s", "26.2")
    found = {}
    for asked in ("auto", "tensor"):
        monkeypatch.setenv("ZMLX_DOT", asked)
        found[asked] = "zm_tensor_mac" in dot_kernel.compile(HALF, HALF, FLOAT, M=64, N=64, K=32, target="metal").source
    assert found == {"auto": False, "tensor": True}


@pytest.mark.parametrize(("architecture", "says"), [("applegpu_g16s", ""), ("applegpu_g17s", ", with Metal 4's tensor operations")])
def test_doctor_says_so(architecture: str, says: str, on_a_mac: Any) -> None:
    on_a_mac(architecture, "26.2")
    assert dict(doctor.targets([]))["metal"].removesuffix(says) in ("runs here", "runs here (default)")
