// Memory of outputs. MLX's CPU allocator returns every large buffer to the system, which then hands out pages that fault one by
// one when they are first written: for a kernel that streams, that takes longer than its work.
#pragma once

#include <cstddef>

#include "mlx/allocator.h"

namespace zmlx {

// Memory of uninitialised bytes. Large buffers come from those that were freed before, 256 MiB of them at the most, or are asked
// for as large pages.
mlx::core::allocator::Data fresh(size_t bytes);

// Gives the kept buffers back; returns how many bytes they had.
size_t clear_kept();

}  // namespace zmlx
