"""MLX's headers, flattened: what MLX prepends, and `mlx_header` beside it."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import pytest

import zmlx.msl as msl
from zmlx.errors import ArgumentError, ToolchainError
from zmlx.simulator import preamble
from zmlx.simulator.translate import UnsupportedFeature, translate

HEADERS = [name for name in msl.mlx_headers() if name not in preamble.preamble_headers()]


def test_the_preamble_is_utils_in_the_order_of_its_includes() -> None:
    text = preamble.mlx_preamble()
    assert {"utils.h", "bf16.h", "bf16_math.h", "complex.h", "defines.h", "logging.h"} <= preamble.preamble_headers()
    marks = [
        "typedef bfloat bfloat16_t",
        "#define instantiate_metal_math_funcs",
        "struct complex_t {",
        "#define MTL_CONST",
        "struct WorkPerThread",
    ]
    places = [text.index(m) for m in marks]
    assert places == sorted(places)
    assert text.count("typedef bfloat bfloat16_t;") == 1
    assert not re.search(r'#include "|#pragma once|Copyright|^#line', text, re.MULTILINE)


def test_a_header_holds_no_includes_of_mlx_and_nothing_that_is_prepended() -> None:
    text = msl.mlx_header("quantized.h")
    assert '#include "' not in text and "typedef bfloat bfloat16_t;" not in text
    order = [text.index(m) for m in ("struct BlockMMA", "struct QuantizedBlockLoader", "qmv_fast_impl")]
    assert order == sorted(order)  # steel/gemm/gemm.h first


def test_each_header_comes_once_and_in_the_order_of_need() -> None:
    once = msl.mlx_header("quantized.h", "steel/gemm/gemm.h", "quantized_utils.h", "quantized.h")
    assert once == msl.mlx_header("quantized.h")
    assert msl.mlx_header("utils.h") == ""
    assert msl.mlx_header("searchsorted.h").index("struct LessThan") < msl.mlx_header("searchsorted.h").index("lt")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("quantised.h", "'quantized.h'"),
        ("quantized", "'quantized.h'"),
        ("steel/gemm.h", "'steel/gemm/gemm.h'"),
        ("gemm.h", "'steel/gemm/gemm.h'"),
        ("zzz", "mlx_headers()"),
    ],
)
def test_a_misspelled_name_gets_a_hint(name: str, hint: str) -> None:
    with pytest.raises(ArgumentError, match=re.escape(hint)):
        msl.mlx_header(name)


def test_no_name_is_no_header() -> None:
    with pytest.raises(ArgumentError, match=r"mlx_header\(\"softmax"):
        msl.mlx_header()


@pytest.mark.parametrize("name", HEADERS)
def test_every_header_translates_or_is_refused_for_its_tensors(name: str) -> None:
    before = translate(preamble.mlx_preamble())
    text = msl.mlx_header(name)
    if "tensor_inline" in text:  # of Metal 4 the simulator has cooperative tensors, in registers, but none in memory
        with pytest.raises(UnsupportedFeature, match="does not run tensors"):
            translate(text, before)
        return
    found = translate(text, before)
    assert found.text.count("\n") == text.count("\n")
    left = re.sub(r"//[^\n]*|/\*.*?\*/|\"[^\"\n]*\"", "", found.text, flags=re.DOTALL)
    assert not re.search(r"\b(device|threadgroup|constant|thread|kernel)\b(?! *[(_])", left)
    assert not re.search(r"\[\[\s*(?!maybe_unused)", left)
    assert len(found.kernels) == len(re.findall(r"\[\[\s*kernel\b", re.sub(r"^#define(?:.*\\\n)*.*", "", text, flags=re.MULTILINE)))


def test_headers_may_be_in_a_folder(tmp_path: Path) -> None:
    kernels = tmp_path / "mlx" / "include" / preamble.KERNELS
    (kernels / "deep").mkdir(parents=True)
    (kernels / "utils.h").write_text(
        '// Copyright © 2024\n\n#pragma once\n#include <metal_stdlib>\n  #include "mlx/backend/metal/kernels/deep/a.h"\nint utils;'
    )
    (kernels / "deep" / "a.h").write_text("#pragma once\nint a;\n")
    (kernels / "b.h").write_text('int before;\n#include "deep/a.h"\n#include "deep/c.h"\n# include "c.h"\nint b;\n')
    (kernels / "c.h").write_text('#include "b.h"\nint c;\n')
    (kernels / "deep" / "c.h").write_text('#include "a.h"\nint deep;\n')
    assert preamble.mlx_preamble(tmp_path) == "#include <metal_stdlib>\nint a;\nint utils;\n"
    assert msl.mlx_header("b.h", folder=tmp_path) == "int before;\nint deep;\nint c;\nint b;\n"
    assert msl.mlx_headers(tmp_path / "mlx") == ("b.h", "c.h", "deep/a.h", "deep/c.h", "utils.h")


def test_missing_headers_say_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(preamble.HeadersMissingError, match="holds no MLX headers"):
        msl.mlx_header("sort.h", folder=tmp_path)
    monkeypatch.setattr(preamble.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(preamble.HeadersMissingError, match="pip install mlx"):
        msl.mlx_header("sort.h")
    spec = type("Spec", (), {"submodule_search_locations": [str(tmp_path)]})
    monkeypatch.setattr(preamble.importlib.util, "find_spec", lambda name: spec)
    with pytest.raises(preamble.HeadersMissingError, match="download_headers"):
        msl.mlx_header("sort.h")
    (tmp_path / preamble.KERNELS).mkdir(parents=True)
    (tmp_path / preamble.KERNELS / "utils.h").write_text('#include "gone.h"\n')
    with pytest.raises(preamble.HeadersMissingError, match=r"includes gone\.h"):
        preamble.mlx_preamble(tmp_path)


def wheel(folder: Path, version: str, files: dict[str, str]) -> None:
    """A wheel that pip takes for macOS."""
    folder.mkdir(exist_ok=True)
    info = f"mlx_metal-{version}.dist-info"
    with zipfile.ZipFile(folder / f"mlx_metal-{version}-py3-none-macosx_14_0_arm64.whl", "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: mlx-metal\nVersion: {version}\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: false\nTag: py3-none-macosx_14_0_arm64\n")
        archive.writestr(f"{info}/RECORD", "")


def test_headers_are_downloaded_from_the_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = f"mlx/include/{preamble.KERNELS}"
    wheel(tmp_path / "index", "9.1.0", {f"{root}/utils.h": "int utils;\n", f"{root}/sort.h": "int sort;\n", "mlx/lib/mlx.metallib": "big"})
    wheel(tmp_path / "index", "9.2.0", {"mlx/lib/mlx.metallib": "big"})
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    target = tmp_path / "headers"
    assert msl.download_headers("9.1.0", target) == target
    assert sorted(p.name for p in target.rglob("*") if p.is_file()) == ["sort.h", "utils.h"]
    assert msl.mlx_header("sort.h", folder=target) == "int sort;\n"
    (target / "mine").touch()
    assert msl.download_headers("9.1.0", target) == target and (target / "mine").exists()  # there already

    with pytest.raises(preamble.HeadersMissingError, match="holds no"):
        msl.download_headers("9.2.0", tmp_path / "none")
    with pytest.raises(ToolchainError, match=r"mlx-metal==1\.0 could not be downloaded"):
        msl.download_headers("1.0", tmp_path / "none")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["headers", "index"]
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    with pytest.raises(ArgumentError, match="not empty"):
        msl.download_headers("9.1.0", tmp_path / "full")
