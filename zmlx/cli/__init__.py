"""The command line: `python -m zmlx demo | bench | show | explain | sanitize | doctor`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from zmlx.cli import bench, demo, doctor, explain, sanitize, show
from zmlx.errors import ZmlxError


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit code: 0 well, 1 a check failed, 2 the command could not run; `sanitize` also
    returns its script's own."""
    parser = argparse.ArgumentParser(prog="zmlx", description="GPU kernels for MLX, written in Python.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for module in (demo, bench, show, explain, sanitize, doctor):
        module.register(commands)
    options = parser.parse_args(argv)
    try:
        return int(options.run(options))
    except ZmlxError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader of our output has enough
        sys.stderr.close()
        return 0
