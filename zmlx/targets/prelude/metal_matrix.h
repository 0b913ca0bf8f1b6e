
// Products of 8x8 matrices that a simdgroup holds: lane l has the elements (row, column) and (row, column + 1) with
// row = l / 16 * 4 + l / 2 % 4 and column = l / 8 % 2 * 4 + l % 2 * 2.
#include <metal_simdgroup_matrix>
// Products of bfloat16 are those of float (matrices of bfloat need a newer Metal), those of bytes are those of half.
template <typename T> struct zm_fragment { using type = T; };
template <> struct zm_fragment<bfloat16_t> { using type = float; };
template <> struct zm_fragment<int8_t> { using type = half; };
template <> struct zm_fragment<uchar> { using type = half; };
template <typename T> inline void zm_fragment_mac(thread float* d, const thread T* a, const thread T* b) {
    using U = typename zm_fragment<T>::type;
    metal::simdgroup_matrix<U, 8, 8> left, right;
    metal::simdgroup_matrix<float, 8, 8> sum;
    for (int i = 0; i < 2; ++i) {
        left.thread_elements()[i] = U(a[i]);
        right.thread_elements()[i] = U(b[i]);
        sum.thread_elements()[i] = d[i];
    }
    metal::simdgroup_multiply_accumulate(sum, left, right, sum);
    for (int i = 0; i < 2; ++i) d[i] = sum.thread_elements()[i];
}
