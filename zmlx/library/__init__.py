"""Functions written in the language itself; `zmlx.language` shows them beside the builtins."""

from zmlx.library import random, standard
from zmlx.ops.device import DeviceFunction

LIBRARY: dict[str, DeviceFunction] = {
    name: f for module in (standard, random) for name, f in vars(module).items() if isinstance(f, DeviceFunction)
}
__all__ = ["LIBRARY", "random", "standard"]
