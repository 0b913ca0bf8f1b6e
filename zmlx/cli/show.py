"""`python -m zmlx show FILE.py:KERNEL`: what a kernel becomes, stage by stage, for any target on any machine."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

import mlx.core as mx

import zmlx
from zmlx.cli import recording
from zmlx.errors import ArgumentError
from zmlx.targets.compile import prelude

STAGES = ("metal", "cuda", "cpu", "tile", "simt", "interpret")
DTYPES = {
    "f32": mx.float32, "f16": mx.float16, "bf16": mx.bfloat16, "f64": mx.float64, "i8": mx.int8, "i16": mx.int16, "i32": mx.int32,
    "i64": mx.int64, "u8": mx.uint8, "u16": mx.uint16, "u32": mx.uint32, "u64": mx.uint64, "i1": mx.bool_,
}  # fmt: skip
ARRAY = re.compile(r"(\w+)\[([\d,\s]*)\]")
ARGUMENTS = """\
Arguments of the kernel come from --arg (name=f32[1024] is an array, name=5, name=0.5, name=None and name=true are values; a
constexpr is given like any other), or, without --arg, from the file itself: it is run as a script up to the first launch of
KERNEL, whose arguments are used and which is not carried out. A catalog file needs no launch: its first case is used.
"""
EPILOG = f"""\
{ARGUMENTS}\
Stages: tile is the typed IR, simt the program of one thread (for --for TARGET, default metal), the rest is a target's text.
"""


def register(commands: Any) -> None:
    parser = commands.add_parser(
        "show", help="print what a kernel becomes", epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_launch(parser)
    parser.add_argument("--target", choices=STAGES, default="metal", help="the text to print (metal)")
    parser.add_argument("--for", dest="base", choices=("metal", "cuda", "cpu"), default="metal", help="the target whose simt IR is meant")
    parser.add_argument("--full", action="store_true", help="with the functions that every kernel's text may use (the prelude)")
    parser.set_defaults(run=run)


def add_launch(parser: argparse.ArgumentParser) -> None:
    """The options that `launch` reads."""
    parser.add_argument("kernel", metavar="FILE.py:KERNEL")
    parser.add_argument("--arg", action="append", default=[], metavar="NAME=SPEC", help="an argument, e.g. x=f32[1024] or n=1000")
    parser.add_argument("--num-warps", type=int, help="warps of a program")


def run(options: argparse.Namespace) -> int:
    kernel, call = launch(options)
    print(text(kernel, call.arguments, call.keywords, options.target, options.base, options.full))
    return 0


def launch(options: argparse.Namespace) -> tuple[Any, recording.Call]:
    """The kernel that FILE.py:KERNEL names, and its arguments from --arg or from the file's first launch."""
    path, _, name = options.kernel.rpartition(":")
    if not path.endswith(".py") or not name:
        raise ArgumentError(f"{options.kernel!r} names no kernel; write FILE.py:KERNEL, e.g. catalog/norm/softmax.py:softmax_kernel")
    file = Path(path)
    if not file.is_file():
        raise ArgumentError(f"there is no file {path}; name the Python file that holds the kernel")
    if options.arg:
        kernel, call = recording.kernel(file, name), recording.Call((), dict(map(argument, options.arg)))
    else:
        kernel, call = recording.first_launch(file, name)
    warps = {"num_warps": options.num_warps} if options.num_warps else {}
    return kernel, recording.Call(call.arguments, call.keywords | warps, call.grid)


def text(kernel: Any, arguments: tuple[Any, ...], keywords: dict[str, Any], stage: str, base: str = "metal", full: bool = False) -> str:
    """The text of one stage of a kernel for the given arguments; the prelude is left out unless it is asked for."""
    compiled = kernel.compile(*arguments, target=base if stage in ("tile", "simt") else stage, **keywords)
    if stage in ("tile", "simt"):
        return str(compiled.tile_ir if stage == "tile" else compiled.simt_ir).rstrip("\n")
    if full:
        return f"{compiled.header}{compiled.source}".rstrip("\n")
    source = str(compiled.source)
    for file in ("cuda.h", "cuda_vector.h"):
        source = source.replace(prelude(file), "")
    return source.strip("\n")


def argument(text: str) -> tuple[str, Any]:
    """NAME=SPEC as (name, ArraySpec or value)."""
    name, equals, spec = text.partition("=")
    if not equals or not name.isidentifier():
        raise ArgumentError(f"--arg {text!r}: write NAME=SPEC, e.g. x=f32[1024] or n=1000")
    if array := ARRAY.fullmatch(spec):
        if array[1] not in DTYPES:
            raise ArgumentError(f"--arg {text!r}: there is no dtype {array[1]}; use one of {', '.join(DTYPES)}")
        return name, zmlx.ArraySpec(tuple(int(d) for d in array[2].split(",") if d.strip()), DTYPES[array[1]])
    words = {"None": None, "none": None, "true": True, "True": True, "false": False, "False": False}
    if spec in words:
        return name, words[spec]
    for number in (int, float):
        try:
            return name, number(spec)
        except ValueError:
            pass
    if spec in DTYPES:
        import zmlx.language as tl

        return name, getattr(tl, zmlx.dtypes.BY_SHORT[spec].name)
    raise ArgumentError(f"--arg {text!r}: {spec!r} is neither an array (f32[1024,64]) nor a number, true, false, None or dtype (f32)")
