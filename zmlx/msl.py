"""MLX's own Metal kernel headers for your kernels: `mx.fast.metal_kernel(..., header=zmlx.msl.mlx_header("quantized.h"))`.

The text is taken from the installed MLX, so that it fits what MLX itself puts before a kernel; headers change between
MLX's releases. It works on a Mac and with `zmlx.simulator`.
"""

from __future__ import annotations

import difflib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from functools import lru_cache
from pathlib import Path

from zmlx.errors import ArgumentError, ToolchainError
from zmlx.simulator.preamble import KERNELS, PREPENDED, HeadersMissingError, flatten, headers_root, mlx_preamble, preamble_headers

# What a header uses without including it: MLX puts these before it where it compiles it.
_GEMM_NAX = ("steel/gemm/gemm_nax.h",)
_GEMM = ("steel/gemm/gemm.h",)
_CONV = ("steel/conv/conv.h",)
_REDUCE = ("reduce_utils.h",)
REQUIRES: dict[str, tuple[str, ...]] = {
    "binary.h": ("binary_ops.h",),
    "binary_two.h": ("binary_ops.h",),
    "fp_quantized.h": ("steel/gemm/gemm.h", "quantized_utils.h"),
    "fp_quantized_nax.h": (*_GEMM_NAX, "quantized_utils.h"),
    "indexing/scatter.h": _REDUCE,
    "indexing/scatter_axis.h": _REDUCE,
    "quantized.h": ("steel/gemm/gemm.h", "quantized_utils.h"),
    "quantized_nax.h": (*_GEMM_NAX, "quantized_utils.h"),
    "reduce.h": _REDUCE,
    "reduction/ops.h": ("atomic.h",),
    "reduction/reduce_all.h": _REDUCE,
    "reduction/reduce_col.h": _REDUCE,
    "reduction/reduce_init.h": _REDUCE,
    "reduction/reduce_row.h": _REDUCE,
    "searchsorted.h": ("sort.h",),
    "steel/conv/kernels/steel_conv.h": _CONV,
    "steel/conv/kernels/steel_conv_3d.h": _CONV,
    "steel/conv/kernels/steel_conv_general.h": _CONV,
    "steel/conv/loader.h": _CONV,
    "steel/conv/loaders/loader_channel_l.h": _CONV,
    "steel/conv/loaders/loader_channel_n.h": _CONV,
    "steel/conv/loaders/loader_general.h": _CONV,
    "steel/gemm/kernels/steel_gemm_fused.h": _GEMM,
    "steel/gemm/kernels/steel_gemm_gather.h": _GEMM,
    "steel/gemm/kernels/steel_gemm_masked.h": _GEMM,
    "steel/gemm/kernels/steel_gemm_segmented.h": _GEMM,
    "steel/gemm/kernels/steel_gemm_splitk.h": _GEMM,
    "steel/gemm/kernels/steel_gemm_fused_nax.h": _GEMM_NAX,
    "steel/gemm/kernels/steel_gemm_gather_nax.h": _GEMM_NAX,
    "steel/gemm/kernels/steel_gemm_segmented_nax.h": _GEMM_NAX,
    "steel/gemm/kernels/steel_gemm_splitk_nax.h": _GEMM_NAX,
    "steel/gemm/kernels/steel_gemm_thin_nax.h": _GEMM_NAX,
    "ternary.h": ("ternary_ops.h",),
    "unary.h": ("unary_ops.h",),
}


def mlx_header(*names: str, folder: str | Path | None = None) -> str:
    """MLX's kernel headers as one text for `header=`: `mlx_header("quantized.h", "steel/gemm/gemm.h")`.

    Includes are resolved, each once, and what the headers need first comes first; what MLX puts before every custom kernel
    anyway (utils.h and all that it includes) is left out. `folder` holds other headers than the installed MLX's, e.g. from
    `download_headers`.
    """
    if not names:
        raise ArgumentError('mlx_header takes names of headers, e.g. mlx_header("softmax.h"); mlx_headers() lists them')
    return _flattened(headers_root(folder), names)


def mlx_headers(folder: str | Path | None = None) -> tuple[str, ...]:
    """The names that `mlx_header` takes."""
    root = headers_root(folder) / KERNELS
    return tuple(sorted(path.relative_to(root).as_posix() for path in root.rglob("*.h")))


@lru_cache(maxsize=32)
def _flattened(root: Path, names: tuple[str, ...]) -> str:
    held = set(preamble_headers(root))
    parts = []
    for name in names:
        _check(root, name)
        for each in _in_order(root, name):
            parts.append(flatten(root, each, held))
    return "".join(part for part in parts if part.strip())


def _in_order(root: Path, name: str) -> list[str]:
    """A header after the ones that it needs; a release may lack one of those, and then needs it no more."""
    needed = [n for n in REQUIRES.get(name, ()) if (root / KERNELS / n).is_file()]
    return [each for n in needed for each in _in_order(root, n)] + [name]


def _check(root: Path, name: str) -> None:
    known = mlx_headers(root)
    if name in known:
        return
    by_file = [k for k in known if k.rsplit("/", 1)[-1] == name.rsplit("/", 1)[-1]]
    near = by_file or difflib.get_close_matches(name, known, n=3) or difflib.get_close_matches(f"{name}.h", known, n=3)
    hint = f"did you mean {' or '.join(repr(n) for n in near)}?" if near else "zmlx.msl.mlx_headers() lists them"
    raise ArgumentError(f"MLX has no Metal header {name!r}; {hint}")


def download_headers(version: str, folder: str | Path) -> Path:
    """Fetches the headers of an MLX release from the package index into `folder`, which `mlx_header(…, folder=)` takes.

    Only the headers are kept. A folder that is there already is left as it is.
    """
    target = Path(folder)
    if (target / "mlx" / "include" / KERNELS / PREPENDED).is_file():
        return target
    if target.exists() and any(target.iterdir()):
        raise ArgumentError(f"{target} is not empty and holds no MLX headers; name a new folder")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as work:
        wheel = _download(version, Path(work))
        unpacked = Path(work) / "headers"
        with zipfile.ZipFile(wheel) as archive:
            members = [m for m in archive.namelist() if m.startswith(f"mlx/include/{KERNELS}/") and m.endswith(".h")]
            if not members:
                raise HeadersMissingError(f"{wheel.name} holds no {KERNELS}/*.h")
            archive.extractall(unpacked, members)
        if target.exists():
            target.rmdir()
        try:
            unpacked.rename(target)  # whole or not at all, also when two processes fetch at once
        except OSError:
            if not (target / "mlx" / "include" / KERNELS / PREPENDED).is_file():
                raise
            shutil.rmtree(unpacked)
    return target


def _download(version: str, work: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--quiet", "--disable-pip-version-check",
               "--platform", "macosx_14_0_arm64", "--dest", str(work), f"mlx-metal=={version}"]  # fmt: skip
    ran = subprocess.run(command, capture_output=True, text=True)
    wheels = sorted(work.glob("*.whl"))
    if ran.returncode or not wheels:
        reason = "pip is not installed here" if "No module named pip" in ran.stderr else ran.stderr.strip()[-600:]
        raise ToolchainError(f"mlx-metal=={version} could not be downloaded: {reason}")
    return wheels[0]


__all__ = ["download_headers", "mlx_header", "mlx_headers", "mlx_preamble"]
