"""Metal without a Mac: Metal Shading Language run on the CPU, thread by thread, and checked while it runs."""

from zmlx.simulator.diagnostics import Diagnostic, MetalCompileError, MetalKernelError, SanitizerError
from zmlx.simulator.installed import install, installed, trace, uninstall
from zmlx.simulator.kernel import MetalKernel, metal_kernel
from zmlx.simulator.report import Line, Report, Thread
from zmlx.simulator.session import SanitizerWarning, Session
from zmlx.simulator.translate import UnsupportedFeature

__all__ = [
    "Diagnostic",
    "Line",
    "MetalCompileError",
    "MetalKernel",
    "MetalKernelError",
    "Report",
    "SanitizerError",
    "SanitizerWarning",
    "Session",
    "Thread",
    "UnsupportedFeature",
    "install",
    "installed",
    "metal_kernel",
    "trace",
    "uninstall",
]
