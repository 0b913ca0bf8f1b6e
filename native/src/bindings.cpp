#include <nanobind/nanobind.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/variant.h>
#include <nanobind/stl/vector.h>

#include <tuple>

#include "host_kernel.h"
#include "memory.h"
#include "mlx/version.h"

namespace nb = nanobind;
using namespace nb::literals;
namespace mx = mlx::core;

NB_MODULE(_ext, m) {
    m.attr("built_for") =
        std::to_string(MLX_VERSION_MAJOR) + "." + std::to_string(MLX_VERSION_MINOR) + "." + std::to_string(MLX_VERSION_PATCH);
    m.def("probe", [](const mx::array& a) { return a.size(); });
    m.def("clear_kept", &zmlx::clear_kept);
    nb::class_<zmlx::HostLaunch>(m, "HostLaunch")
        .def(
            "__init__",
            [](zmlx::HostLaunch* self, uintptr_t kernel, uintptr_t run, const std::vector<int>& roles, std::vector<mx::Dtype> dtypes, int threads) {
                std::vector<zmlx::Role> kinds;
                for (int r : roles) {
                    if (r < 0 || r > 3) throw std::invalid_argument("a role is 0 (read), 1 (fresh), 2 (zeros) or 3 (update)");
                    kinds.push_back(zmlx::Role(r));
                }
                if (kinds.size() != dtypes.size()) throw std::invalid_argument("one dtype for each role");
                new (self) zmlx::HostLaunch{reinterpret_cast<void*>(kernel), reinterpret_cast<zmlx::Run>(run), std::move(kinds), std::move(dtypes), threads};
            },
            "kernel"_a, "run"_a, "roles"_a, "dtypes"_a, "threads"_a)
        .def(
            "__call__",
            [](std::shared_ptr<zmlx::HostLaunch> self, const std::vector<mx::array>& arrays, nb::bytes scalars, std::tuple<int, int, int> grid,
               mx::StreamOrDevice stream) {
                return zmlx::HostLaunch::launch(
                    std::move(self), arrays, std::string(scalars.c_str(), scalars.size()),
                    {std::get<0>(grid), std::get<1>(grid), std::get<2>(grid)}, stream);
            },
            "arrays"_a, "scalars"_a, "grid"_a, "stream"_a = nb::none());
}
