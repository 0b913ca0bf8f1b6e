"""The shape of the project: who may import whom, file sizes, names, and what the distribution lists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "zmlx"
CATALOG = ROOT / "catalog"

# layer -> the layers it may import besides itself. Read it as the picture of the project.
BASE = {"dtypes", "errors", "knobs"}
OPS = BASE | {"ir", "ops"}
TARGETS = OPS | {"passes", "interp", "target", "simt", "targets"}
RUNTIME = TARGETS | {"explain", "intrinsics", "language", "library", "frontend", "build", "simulator", "runtime"}
MAY_IMPORT = {
    "errors": set(),
    "dtypes": {"errors"},
    "knobs": {"errors"},
    "ir": BASE,
    "ops": BASE | {"ir"},
    "intrinsics": OPS,
    "library": OPS | {"intrinsics"},
    "language": OPS | {"intrinsics", "library"},
    "frontend": OPS | {"intrinsics", "language", "library", "build"},  # what it has read is kept on disk
    "passes": OPS,
    "interp": OPS,
    "target": OPS,  # zmlx.targets.target: what a target is, as data that the lowering reads
    "simt": OPS | {"passes", "target"},
    "targets": TARGETS,
    "explain": TARGETS,  # what the compiler did, in words
    "build": BASE,  # zmlx.runtime.cache and zmlx.runtime.toolchain: files and compilers, which the simulator needs too
    "simulator": BASE | {"build"},  # runs anybody's Metal text: knows nothing of zmlx's own kernels
    "runtime": RUNTIME,
    "api": RUNTIME,
    "catalog": RUNTIME | {"api"},
    "bench": RUNTIME | {"api", "catalog"},
    "cli": RUNTIME | {"api", "catalog", "bench"},
}
# The modules directly below zmlx that belong to the public face.
API = {"", "msl", "testing", "api", "profile", "validate"}
CLI = {"cli", "__main__", "pytest_plugin"}
FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "common", "misc"}


def layer(module: str) -> str:
    """The layer of a dotted module name under zmlx."""
    if module == "zmlx.targets.target":
        return "target"
    if module in ("zmlx.runtime", "zmlx.runtime.cache", "zmlx.runtime.isa", "zmlx.runtime.toolchain"):
        return "build"
    first = module.removeprefix("zmlx").removeprefix(".").split(".")[0]
    return "api" if first in API else "cli" if first in CLI else first


def sources() -> list[tuple[str, Path]]:
    """(module, file) of everything that is installed."""
    found = []
    for top, prefix in ((PACKAGE, "zmlx"), (CATALOG, "zmlx.catalog")):
        for path in sorted(top.rglob("*.py")):
            parts = path.relative_to(top).with_suffix("").parts
            found.append((".".join((prefix, *(p for p in parts if p != "__init__"))), path))
    return found


def known(name: str) -> bool:
    return any(name == module for module, _ in SOURCES)


def imports(tree: ast.AST, module: str) -> set[str]:
    """The modules that a file imports at run time, late imports included; TYPE_CHECKING blocks name types only."""
    names: set[str] = set()
    skipped: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            skipped.update(inner for child in node.body for inner in ast.walk(child))
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            names.update(a.name for a in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import; write the full name"
            base = node.module or ""
            names.update(f"{base}.{a.name}" if known(f"{base}.{a.name}") else base for a in node.names)
    return names


SOURCES = sources()


@pytest.mark.parametrize(("module", "path"), SOURCES, ids=[m for m, _ in SOURCES])
def test_layers(module: str, path: Path) -> None:
    own = layer(module)
    assert own in MAY_IMPORT, f"{module} is in no layer: say in MAY_IMPORT where it belongs"
    allowed = MAY_IMPORT[own] | {own}
    for name in imports(ast.parse(path.read_text()), module):
        top = name.split(".")[0]
        if top == "mlx":
            knows = own in {"simulator", "runtime", "api", "catalog", "bench", "cli"}
            assert knows, f"{module} imports {name}: nothing below runtime knows MLX"
        elif top == "zmlx":
            assert layer(name) in allowed, f"{module} ({own}) imports {name} ({layer(name)}): a lower layer knows no higher one"


def test_layers_have_no_cycle() -> None:
    graph = {k: v - {k} for k, v in MAY_IMPORT.items()}
    done: set[str] = set()
    while len(done) < len(graph):
        ready = {k for k, v in graph.items() if k not in done and v <= done}
        assert ready, f"a cycle among {sorted(set(graph) - done)}"
        done |= ready


def test_ir_names_no_op() -> None:
    for module, path in SOURCES:
        if layer(module) == "ir":
            assert not any(n.startswith("zmlx.ops") for n in imports(ast.parse(path.read_text()), module)), module


def python_files() -> list[Path]:
    return [p for top in ("zmlx", "catalog", "tests", "benchmarks", "docs") for p in sorted((ROOT / top).rglob("*.py"))]


def test_no_file_is_longer_than_600_lines() -> None:
    long = {str(p.relative_to(ROOT)): n for p in python_files() if (n := len(p.read_text().splitlines())) > 600}
    assert not long, f"split them: {long}"


def test_no_drawer_names() -> None:
    drawers = [str(p) for p in python_files() if p.stem.strip("_") in FORBIDDEN_NAMES or p.parent.name in FORBIDDEN_NAMES]
    assert not drawers, f"name them after what they hold: {drawers}"


def test_every_package_is_listed() -> None:
    found = re.search(r"^packages = (\[.*?\])", (ROOT / "pyproject.toml").read_text(), re.DOTALL | re.MULTILINE)
    listed = ast.literal_eval(found[1]) if found else []  # a TOML list of strings is a Python one; 3.10 has no tomllib
    packages = [m for m, path in SOURCES if path.name == "__init__.py"]
    assert sorted(listed) == sorted(packages)
    for top, prefix in ((PACKAGE, "zmlx"), (CATALOG, "zmlx.catalog")):
        for path in top.rglob("*.py"):
            assert (path.parent / "__init__.py").exists(), f"{path.parent} ({prefix}) holds modules and no __init__.py"


def test_the_catalog_is_no_top_level_package() -> None:
    import importlib.util

    spec = importlib.util.spec_from_file_location("catalog", CATALOG / "__init__.py")
    assert spec is not None and spec.loader is not None
    with pytest.raises(ImportError, match=r"zmlx\.catalog"):
        spec.loader.exec_module(importlib.util.module_from_spec(spec))


def test_kernels_are_named_so() -> None:
    # `@zmlx.jit` functions with a pointer parameter are kernels, the others (and private ones) device functions.
    for _, path in SOURCES:
        if CATALOG not in path.parents:
            continue
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef) and any(ast.unparse(d).startswith("zmlx.jit") for d in node.decorator_list):
                launched = any(a.arg.endswith("_ptr") for a in node.args.args) and not node.name.startswith("_")
                assert node.name.endswith("_kernel") == launched, f"{path.name}: {node.name}"
