
// Metal 4's products of a 16x16 and a 16x32 matrix that a simdgroup holds, in parts of 16x16: lane l has the elements
// (row + i / 4 * 8, column + i % 4), i = 0 ... 7, of each with row = l / 16 * 4 + l / 2 % 4 and column = l / 8 % 2 * 8 + l % 2 * 4.
// Turned: of the transpose of each part of that operand.
#include <MetalPerformancePrimitives/MetalPerformancePrimitives.h>
template <int turned_left, int turned_right, typename T>
inline void zm_tensor_mac(thread float* d, const thread T* a, const thread T* b) {
    using shape = mpp::tensor_ops::matmul2d_descriptor;
    constexpr auto what = shape(16, 32, 16, turned_left != 0, turned_right != 0, true, shape::mode::multiply_accumulate);
    mpp::tensor_ops::matmul2d<what, metal::execution_simdgroup> product;
    using L = decltype(product.template get_left_input_cooperative_tensor<T, T, float>());
    using R = decltype(product.template get_right_input_cooperative_tensor<T, T, float>());
    auto left = product.template get_left_input_cooperative_tensor<T, T, float>();
    auto right = product.template get_right_input_cooperative_tensor<T, T, float>();
    auto sum = product.template get_destination_cooperative_tensor<L, R, float>();
    for (int i = 0; i < 8; ++i) left[i] = a[i];
    for (int i = 0; i < 16; ++i) right[i] = b[i];
    for (int i = 0; i < 16; ++i) sum[i] = d[i];
    product.run(left, right, sum);
    for (int i = 0; i < 16; ++i) d[i] = sum[i];
}
