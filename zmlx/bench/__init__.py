"""Benchmarks: fair timing of calls on MLX arrays, and the suites of `python -m zmlx bench`.

`interleaved` and its kin are all that a script of one's own needs; the suites are in zmlx.bench.suites.
"""

from zmlx.bench.timing import Timing, device_name, interleaved, machine, on_gpu, sample

__all__ = ["Timing", "device_name", "interleaved", "machine", "on_gpu", "sample"]
