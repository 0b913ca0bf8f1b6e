// A compiled CPU kernel as a primitive of MLX's graph.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "mlx/mlx.h"
#include "mlx/primitives.h"

namespace zmlx {

namespace mx = mlx::core;

// What an array parameter is to a launch.
enum class Role : uint8_t {
    read,    // an input
    fresh,   // an output of which every element that matters is written
    zeros,   // an output that starts as zeros
    update,  // an output that starts as the array that was passed
};

// Runs a kernel over a grid on zmlx's threads (zmlx/runtime/host_pool.cpp); returns what it reported, or null.
using Run = void (*)(void* kernel, void* const* arrays, const char* scalars, const int32_t* grid, int threads);

// What the launches of one compiled kernel share. Kernels and the pool are never unloaded.
struct HostLaunch {
    void* kernel;
    Run run;
    std::vector<Role> roles;
    std::vector<mx::Dtype> dtypes;  // of each array parameter
    int threads;

    // Puts a launch into the graph; returns the new values of the written arrays, in parameter order.
    static std::vector<mx::array> launch(
        std::shared_ptr<const HostLaunch> self,
        const std::vector<mx::array>& arrays,
        std::string scalars,
        std::vector<int32_t> grid,
        mx::StreamOrDevice stream);
};

}  // namespace zmlx
