#include "host_kernel.h"

#include "memory.h"

#include <cstring>
#include <stdexcept>

#include "mlx/allocator.h"
#include "mlx/backend/cpu/encoder.h"

namespace zmlx {

namespace {

using Shared = std::shared_ptr<const HostLaunch>;

// Copies an array of any strides, broadcast ones included, into row-major order.
void gather_rows(const char* from, char* to, const mx::Shape& shape, const mx::Strides& strides, size_t item, size_t dim) {
    if (dim == shape.size()) {
        std::memcpy(to, from, item);
        return;
    }
    size_t inner = item;
    for (size_t d = dim + 1; d < shape.size(); ++d) inner *= size_t(shape[d]);
    int64_t step = strides[dim] * int64_t(item);
    if (dim + 1 == shape.size() && strides[dim] == 1) {
        std::memcpy(to, from, inner * size_t(shape[dim]));
        return;
    }
    for (int i = 0; i < shape[dim]; ++i) gather_rows(from + i * step, to + size_t(i) * inner, shape, strides, item, dim + 1);
}

void copy_row_major(const mx::array& from, char* to) {
    if (from.flags().row_contiguous)
        std::memcpy(to, from.data<char>(), from.nbytes());
    else
        gather_rows(from.data<char>(), to, from.shape(), from.strides(), from.itemsize(), 0);
}

class HostKernel : public mx::Primitive {
  public:
    HostKernel(mx::Stream stream, Shared launch, std::string scalars, std::vector<int32_t> grid, std::vector<mx::Shape> shapes)
        : Primitive(stream), launch_(std::move(launch)), scalars_(std::move(scalars)), grid_(std::move(grid)), shapes_(std::move(shapes)) {}

    const char* name() const override { return "ZmlxHostKernel"; }

    // Kernels that read nothing but scalars may give other results each time only by atomics on fresh memory: equal
    // launches are equal.
    bool is_equivalent(const mx::Primitive& other_) const override {
        auto& other = static_cast<const HostKernel&>(other_);
        return launch_ == other.launch_ && scalars_ == other.scalars_ && grid_ == other.grid_ && shapes_ == other.shapes_;
    }

    std::vector<mx::Shape> output_shapes(const std::vector<mx::array>&) override { return shapes_; }

    // Inputs are the arrays that are read or updated, in parameter order.
    void eval_cpu(const std::vector<mx::array>& inputs, std::vector<mx::array>& outputs) override {
        auto& encoder = mx::cpu::get_command_encoder(stream());
        std::vector<void*> pointers;
        std::vector<std::pair<mx::array, char*>> copies;  // (from, to), made before the kernel runs
        std::vector<std::pair<char*, size_t>> zeros;
        size_t in = 0, out = 0;
        for (Role role : launch_->roles) {
            if (role == Role::read) {
                const mx::array& a = inputs[in++];
                encoder.set_input_array(a);
                if (a.flags().row_contiguous || a.size() <= 1) {
                    pointers.push_back(const_cast<char*>(a.data<char>()));
                    continue;
                }
                mx::array rows(a.shape(), a.dtype(), nullptr, {});
                rows.set_data(fresh(rows.nbytes()));
                encoder.add_temporary(rows);
                copies.emplace_back(a, rows.data<char>());
                pointers.push_back(rows.data<char>());
                continue;
            }
            mx::array& o = outputs[out++];
            if (role == Role::update) {
                const mx::array& a = inputs[in++];
                encoder.set_input_array(a);
                if (a.is_donatable() && a.flags().row_contiguous && a.data_size() == a.size()) {
                    o.copy_shared_buffer(a);
                } else {
                    o.set_data(fresh(o.nbytes()));
                    copies.emplace_back(a, o.data<char>());
                }
            } else {
                o.set_data(fresh(o.nbytes()));
                if (role == Role::zeros) zeros.emplace_back(o.data<char>(), o.nbytes());
            }
            encoder.set_output_array(o);
            pointers.push_back(o.data<char>());
        }
        // MLX keeps inputs and outputs until the task has run; the primitive may be gone by then.
        encoder.dispatch([launch = launch_, scalars = scalars_, grid = grid_, pointers = std::move(pointers), copies = std::move(copies),
                          zeros = std::move(zeros)]() {
            for (auto& [from, to] : copies) copy_row_major(from, to);
            for (auto& [at, bytes] : zeros) std::memset(at, 0, bytes);
            launch->run(launch->kernel, pointers.data(), scalars.data(), grid.data(), launch->threads);
        });
    }

    void eval_gpu(const std::vector<mx::array>&, std::vector<mx::array>&) override {
        throw std::runtime_error("a kernel that zmlx compiled for the CPU was put on a GPU stream; pass stream=mx.cpu");
    }

    // One launch an element of the batch.
    std::pair<std::vector<mx::array>, std::vector<int>> vmap(const std::vector<mx::array>& inputs, const std::vector<int>& axes) override {
        int batch = 0;
        for (size_t i = 0; i < inputs.size(); ++i)
            if (axes[i] >= 0) batch = inputs[i].shape(axes[i]);
        std::vector<std::vector<mx::array>> results(shapes_.size());
        for (int b = 0; b < batch; ++b) {
            std::vector<mx::array> each;
            for (size_t i = 0; i < inputs.size(); ++i)
                each.push_back(axes[i] < 0 ? inputs[i] : mx::take(inputs[i], b, axes[i], stream()));
            auto made = make(launch_, std::move(each), scalars_, grid_, shapes_, stream());
            for (size_t j = 0; j < made.size(); ++j) results[j].push_back(made[j]);
        }
        std::vector<mx::array> stacked;
        for (auto& r : results) stacked.push_back(mx::stack(r, 0, stream()));
        return {stacked, std::vector<int>(stacked.size(), 0)};
    }

    static std::vector<mx::array> make(
        Shared launch, std::vector<mx::array> inputs, std::string scalars, std::vector<int32_t> grid, std::vector<mx::Shape> shapes, mx::Stream stream) {
        std::vector<mx::Dtype> dtypes;
        for (size_t i = 0; i < launch->roles.size(); ++i)
            if (launch->roles[i] != Role::read) dtypes.push_back(launch->dtypes[i]);
        auto primitive = std::make_shared<HostKernel>(stream, std::move(launch), std::move(scalars), std::move(grid), shapes);
        return mx::array::make_arrays(std::move(shapes), dtypes, primitive, std::move(inputs));
    }

  private:
    Shared launch_;
    std::string scalars_;
    std::vector<int32_t> grid_;
    std::vector<mx::Shape> shapes_;
};

}  // namespace

std::vector<mx::array> HostLaunch::launch(
    Shared self, const std::vector<mx::array>& arrays, std::string scalars, std::vector<int32_t> grid, mx::StreamOrDevice where) {
    if (arrays.size() != self->roles.size()) throw std::invalid_argument("one array for each parameter");
    mx::Stream stream = std::holds_alternative<std::monostate>(where) ? mx::default_stream(mx::Device::cpu) : mx::to_stream(where);
    if (stream.device != mx::Device::cpu) throw std::invalid_argument("a kernel for the CPU needs a stream of the CPU: stream=mx.cpu");
    std::vector<mx::array> inputs;
    std::vector<mx::Shape> shapes;
    for (size_t i = 0; i < arrays.size(); ++i) {
        Role role = self->roles[i];
        if (arrays[i].size() == 0) throw std::invalid_argument("an array is empty");
        if (role == Role::read || role == Role::update) inputs.push_back(arrays[i]);
        if (role != Role::read) shapes.push_back(arrays[i].shape());
    }
    return HostKernel::make(std::move(self), std::move(inputs), std::move(scalars), std::move(grid), std::move(shapes), stream);
}

}  // namespace zmlx
