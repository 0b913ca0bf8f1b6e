"""`python -m zmlx sanitize SCRIPT.py …`: runs a script with every Metal kernel that it launches simulated and checked."""

from __future__ import annotations

import argparse
import builtins
import importlib.machinery
import io
import os
import sys
import traceback
import types
from pathlib import Path
from typing import Any

from zmlx import simulator
from zmlx.errors import ArgumentError
from zmlx.runtime import device

EPILOG = """\
Kernels of mx.fast.metal_kernel, whoever made them, and zmlx's own run on the CPU with Metal's semantics; nothing needs a Mac.
Reports come at the end. The exit code is the script's own, or 1 where the script ends well and something was reported.
"""


def register(commands: Any) -> None:
    parser = commands.add_parser(
        "sanitize", help="run a script and check its Metal kernels", epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("script", metavar="SCRIPT.py")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, metavar="…", help="the script's own arguments")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    if not Path(options.script).is_file():
        raise ArgumentError(f"there is no file {options.script}; name the Python script to run")
    with simulator.installed(sanitize=True, on_report="collect", pretend=True) as session, device.default("metal-sim"):
        code = execute(options.script, options.arguments)
    sys.stdout.flush()
    for report in session.reports:
        print(f"\n{report}", file=sys.stderr)
    found = len(session.reports)
    print(f"\n{summary(session.kernels, session.launches, found)}", file=sys.stderr)
    return code or (1 if found else 0)


def summary(kernels: int, launches: int, reports: int) -> str:
    """What was checked, in one line."""
    if not launches:
        return "zmlx sanitize: no Metal kernel was launched, so nothing was checked"
    found = _count(reports, "report") if reports else "nothing to report"
    return f"zmlx sanitize: {_count(kernels, 'kernel')}, {_count(launches, 'launch')} checked; {found}"


def _count(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 'es' if what.endswith('ch') else 's'}"


def execute(script: str, arguments: list[str]) -> int:
    """Runs a file as Python itself does: as __main__, with its folder on the path and its arguments. Returns the exit code."""
    main = types.ModuleType("__main__")
    main.__file__, main.__builtins__ = script, builtins  # type: ignore[attr-defined]
    main.__loader__ = importlib.machinery.SourceFileLoader("__main__", script)
    sys.modules["__main__"] = main
    sys.argv = [script, *arguments]
    sys.path[0] = os.path.dirname(os.path.realpath(script))
    try:
        with io.open_code(os.path.abspath(script)) as file:
            code = compile(file.read(), script, "exec", dont_inherit=True)
        exec(code, main.__dict__)
    except SystemExit as end:
        return _exit_code(end)
    except BaseException as error:
        here = error.__traceback__
        traceback.print_exception(type(error), error, here.tb_next if here is not None else None)
        return 130 if isinstance(error, KeyboardInterrupt) else 1
    return 0


def _exit_code(end: SystemExit) -> int:
    if end.code is None or isinstance(end.code, int):
        return int(end.code or 0)
    print(end.code, file=sys.stderr)
    return 1
