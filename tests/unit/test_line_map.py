"""From a line of Metal's text to the line of the user's Python."""

from __future__ import annotations

import importlib.util
import linecache
import re
from pathlib import Path
from types import ModuleType

import mlx.core as mx
import pytest

import zmlx
from zmlx.catalog import entries
from zmlx.cli.recording import launch_of
from zmlx.errors import Loc
from zmlx.runtime.jit import JitFunction
from zmlx.targets.compiled import Compiled, LineMap

SOURCE = """\
import zmlx
import zmlx.language as tl

@zmlx.jit
def scaled(v, factor):
    raised = tl.exp(v)                                              # exp
    return raised * factor

@zmlx.jit
def row_kernel(x_ptr, y_ptr, out_ptr, n, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    x = tl.load(x_ptr + at, mask=at < n)                            # load x
    y = tl.load(y_ptr + at, mask=at < n)                            # load y
    total = tl.sum(scaled(x, 2.0), axis=0)                          # sum
    for i in range(n):
        tl.store(                                                   # store
            out_ptr + at,
            total + y,
            mask=at < n,
        )
"""


def load(file: Path, text: str) -> ModuleType:
    file.write_text(text)
    linecache.checkcache(str(file))
    spec = importlib.util.spec_from_file_location("rows", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def compiled(kernel: JitFunction, target: str = "metal-sim") -> Compiled:
    spec = zmlx.ArraySpec(1000, mx.float32)
    return kernel.compile(spec, spec, spec, 1000, BLOCK=1024, target=target)


def line_of(mark: str, text: str = SOURCE) -> int:
    return next(i for i, line in enumerate(text.splitlines(), 1) if line.endswith(f"# {mark}"))


def places(made: Compiled, pattern: str) -> list[Loc | None]:
    """Where the lines of the text that match come from."""
    found = [made.line_map.place(i) for i, line in enumerate(made.source.splitlines(), 1) if re.search(pattern, line)]
    assert found, f"{pattern} is nowhere in\n{made.source}"
    return found


@pytest.mark.parametrize(
    ("pattern", "mark"),
    [(r"zm_vload<4>\(x", "load x"), (r"zm_vload<4>\(y", "load y"), ("simd|barrier|zm_shuffle", "sum"), ("zm_vstore", "store")],
)
def test_each_access_knows_its_line(pattern: str, mark: str, tmp_path: Path) -> None:
    file = tmp_path / "rows.py"
    found = places(compiled(load(file, SOURCE).row_kernel), pattern)
    assert {(p.file, p.line) for p in found if p} == {(str(file), line_of(mark))} and None not in found


def test_a_call_over_several_lines_is_one_place(tmp_path: Path) -> None:
    store = places(compiled(load(tmp_path / "rows.py", SOURCE).row_kernel), "zm_vstore")[0]
    assert store is not None and (store.line, store.end_line) == (line_of("store"), line_of("store") + 4)


def test_an_inlined_function_knows_its_caller(tmp_path: Path) -> None:
    (place,) = places(compiled(load(tmp_path / "rows.py", SOURCE).row_kernel), r"precise::exp")
    assert place is not None and place.line == line_of("exp") and place.function == "scaled"
    assert place.caller is not None and place.caller.line == line_of("sum") and place.caller.function == "row_kernel"


def test_the_text_is_metals(tmp_path: Path) -> None:
    kernel = load(tmp_path / "rows.py", SOURCE).row_kernel
    sim, metal = compiled(kernel), compiled(kernel, "metal")
    assert (sim.source, sim.header, sim.threads) == (metal.source, metal.header, metal.threads)
    assert metal.line_map == LineMap()


def test_moved_code_is_found_where_it_now_stands(tmp_path: Path) -> None:
    first = compiled(load(tmp_path / "rows.py", SOURCE).row_kernel)
    moved = "# one\n# two\n" + SOURCE
    again = compiled(load(tmp_path / "rows.py", moved).row_kernel)  # the disk cache holds the first
    assert again.source == first.source
    assert {p.line for p in places(again, "zm_vstore") if p} == {line_of("store", moved)}


@pytest.mark.parametrize("entry", list(entries()), ids=lambda e: e.name)
def test_every_access_of_the_catalog_has_a_place(entry: object) -> None:
    for case in entry.cases[:3]:  # type: ignore[attr-defined]
        args = case.build(mx.float16)
        kernel, call = launch_of(lambda: entry.call(*args, **case.kwargs))  # type: ignore[attr-defined] # noqa: B023
        made = kernel.compile(*call.arguments, target="metal-sim", **call.keywords)
        lines = made.source.splitlines()
        assert len(made.line_map.lines) == len(lines)
        assert Compiled.from_json(made.to_json()) == made
        symbols = "|".join(p.symbol for p in made.params if p.is_array)
        for i, line in enumerate(lines, 1):
            if (
                re.search(rf"\b({symbols})\b|barrier|zm_v(load|store)|zm_shared\b.*;", line)
                and "zm_shared_words" not in line
                and "_inout =" not in line
            ):
                assert made.line_map.place(i) is not None, f"line {i}: {line}"


def test_lines_outside_of_the_text_have_no_place() -> None:
    loc = Loc("a.py", 3, 0, 3, 5, "f", Loc("b.py", 9, 1, 9, 4, "g"))
    lines = LineMap.of([None, loc, None, loc, loc.caller])
    assert [lines.place(i) for i in range(-1, 8)] == [None, None, None, loc, None, loc, loc.caller, None, None]
    assert LineMap.unpack(lines.pack()) == lines and lines.places == (loc.caller, loc)
