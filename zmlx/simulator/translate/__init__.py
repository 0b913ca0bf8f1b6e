"""Metal Shading Language to C++, line by line: what a kernel's text needs before a host compiler takes it."""

from zmlx.simulator.translate.errors import UnsupportedFeature
from zmlx.simulator.translate.function_constants import FunctionConstant
from zmlx.simulator.translate.kernels import Instantiation, KernelSignature, Parameter
from zmlx.simulator.translate.translation import Translation, translate

__all__ = [
    "FunctionConstant",
    "Instantiation",
    "KernelSignature",
    "Parameter",
    "Translation",
    "UnsupportedFeature",
    "translate",
]
