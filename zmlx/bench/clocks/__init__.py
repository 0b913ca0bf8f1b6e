"""Clocks: what a time of the benchmarks was taken by.

cupti   device time of every kernel, copy and memset, whoever launched it: one clock for zmlx, MLX, Triton and PyTorch
events  device time between two CUDA events, where CUPTI cannot be loaded; MLX's own launches have none, since MLX queues
        them on streams of its own
wall    the host's clock around a batch of calls: the clock of the CPU and of Metal
"""
