"""`python -m zmlx explain FILE.py:KERNEL`: what the compiler did with each line of a kernel, and why, on any machine."""

from __future__ import annotations

import argparse
from typing import Any

from zmlx.cli import show
from zmlx.errors import ArgumentError


def register(commands: Any) -> None:
    parser = commands.add_parser(
        "explain", help="say what the compiler did, and why", epilog=show.ARGUMENTS, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    show.add_launch(parser)
    parser.add_argument("--target", choices=("metal", "cuda", "cpu"), default="metal", help="the target to explain (metal)")
    parser.add_argument("--grid", metavar="N[,N[,N]]", help="programs of a launch, for the bytes they move (the recorded launch's)")
    parser.add_argument("--json", action="store_true", help="as one JSON object")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    kernel, call = show.launch(options)
    keywords = {name: value for name, value in call.keywords.items() if name != "stream"}
    explanation = kernel.explain(*call.arguments, target=options.target, grid=_grid(options.grid) or call.grid, **keywords)
    print(explanation.to_json() if options.json else explanation)
    return 0


def _grid(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        return tuple(int(n) for n in text.split(","))
    except ValueError:
        raise ArgumentError(f"--grid {text!r}: write up to three numbers, e.g. --grid 64 or --grid 8,4") from None
