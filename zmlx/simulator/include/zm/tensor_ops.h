// <MetalPerformancePrimitives>: matmul2d of one simdgroup, whose operands and result are cooperative tensors.
//
// A matrix is in parts of 16x16, eight elements a lane each; the places of these are those that MLX's own kernels rely on. Where
// a matrix is transposed, its stored form has the parts.
#pragma once

#include "msl.h"

namespace metal {

struct execution_simdgroup {};

// As many elements as a lane has of a 16x16 part: held, copied and indexed, no more.
template <class T>
    requires zm::Scalar<T>
struct vec<T, 8> {
    T d[8];
    vec() = default;
    explicit vec(T x) {
        for (T& e : d) e = x;
    }
    T& operator[](int i) { return d[i]; }
    const T& operator[](int i) const { return d[i]; }
};

}  // namespace metal

namespace zm {

enum class Role { left, right, destination };

template <class T, int Rows, int Columns, Role R>
struct CooperativeTensor {
    using element_type = T;
    static constexpr int capacity = Rows * Columns / 32;
    T elements[capacity];

    T& operator[](int i) { return elements[i]; }
    const T& operator[](int i) const { return elements[i]; }
    static constexpr uint16_t get_capacity() { return capacity; }
    // Where element i of a lane lies.
    ZM_UNCHECKED static void place(uint32_t lane, int i, int& row, int& column) {
        const int part = i / 8, within = i % 8;
        row = part / (Columns / 16) * 16 + int(lane / 16 * 4 + lane / 2 % 4) + within / 4 * 8;
        column = part % (Columns / 16) * 16 + int(lane / 8 % 2 * 8 + lane % 2 * 4) + within % 4;
    }
};

template <class L, class R, class D>
struct Operands {
    L left;
    R right;
    D sum;
};
// sum = left · right + sum, or without it: accumulated in float from the first column on. Halves lose nothing by that; what the
// device does with floats when relaxed_precision is set, Apple does not say.
template <auto What>
struct Matmul {
    template <class L, class R, class D>
    ZM_UNCHECKED static void run(Slot<Operands<L, R, D>>** slots, uint32_t mask) {
        float a[What.m][What.k] = {}, b[What.k][What.n] = {};
        ZM_LANES(l, mask) {
            int row, column;
            for (int i = 0; i < L::capacity; ++i) {
                L::place(l, i, row, column);
                (What.transpose_left ? a[column][row] : a[row][column]) = float(slots[l]->in.left.elements[i]);
            }
            for (int i = 0; i < R::capacity; ++i) {
                R::place(l, i, row, column);
                (What.transpose_right ? b[column][row] : b[row][column]) = float(slots[l]->in.right.elements[i]);
            }
        }
        ZM_LANES(l, mask) {
            for (int i = 0; i < D::capacity; ++i) {
                int row, column;
                D::place(l, i, row, column);
                float sum = What.accumulates() ? float(slots[l]->in.sum.elements[i]) : 0.0f;
                for (int k = 0; k < What.k; ++k) sum += a[row][k] * b[k][column];
                slots[l]->out.sum.elements[i] = sum;
            }
        }
    }
};

}  // namespace zm

namespace mpp::tensor_ops {

struct matmul2d_descriptor {
    enum class mode { multiply, multiply_accumulate };
    int m, n, k;
    bool transpose_left, transpose_right, relaxed_precision;
    mode matmul_mode;
    constexpr matmul2d_descriptor(
        int rows, int columns, int depth, bool left = false, bool right = false, bool relaxed = false, mode how = mode::multiply)
        : m(rows), n(columns), k(depth), transpose_left(left), transpose_right(right), relaxed_precision(relaxed), matmul_mode(how) {}
    constexpr bool accumulates() const { return matmul_mode == mode::multiply_accumulate; }
};

template <matmul2d_descriptor What, class Scope>
struct matmul2d {
    static_assert(std::is_same_v<Scope, metal::execution_simdgroup>, "the simulator knows matmul2d of one simdgroup: execution_simdgroup");
    static_assert((What.m == 16 || What.m == 32) && (What.n == 16 || What.n == 32) && (What.k == 16 || What.k == 32) &&
                      What.m + What.n + What.k == 64,
                  "the simulator knows matmul2d of 16x32x16, 32x16x16 and 16x16x32, whose places MLX's kernels tell");
    template <class A, class B, class C>
    using left_t = zm::CooperativeTensor<A, What.transpose_left ? What.k : What.m, What.transpose_left ? What.m : What.k, zm::Role::left>;
    template <class A, class B, class C>
    using right_t = zm::CooperativeTensor<B, What.transpose_right ? What.n : What.k, What.transpose_right ? What.k : What.n, zm::Role::right>;

    template <class A, class B, class C>
    static constexpr void check() {
        static_assert(zm::Float<A> && zm::Float<B> && std::is_same_v<C, float>,
                      "the simulator knows matmul2d of operands of half, bfloat or float, summed in float");
    }
    template <class A, class B, class C>
    left_t<A, B, C> get_left_input_cooperative_tensor() const { return check<A, B, C>(), left_t<A, B, C>{}; }
    template <class A, class B, class C>
    right_t<A, B, C> get_right_input_cooperative_tensor() const { return check<A, B, C>(), right_t<A, B, C>{}; }
    template <class L, class R, class C>
    zm::CooperativeTensor<C, What.m, What.n, zm::Role::destination> get_destination_cooperative_tensor() const {
        using A = typename std::remove_reference_t<L>::element_type;
        using B = typename std::remove_reference_t<R>::element_type;
        return check<A, B, C>(), zm::CooperativeTensor<C, What.m, What.n, zm::Role::destination>{};
    }
    template <class L, class R, class D>
    void run(const L& left, const R& right, D& sum, ZM_SITE) const {
        static_assert(std::is_same_v<L, left_t<typename L::element_type, int, int>>, "the first operand is this product's left one");
        static_assert(std::is_same_v<R, right_t<int, typename R::element_type, int>>, "the second operand is this product's right one");
        using F = zm::Operands<L, R, D>;
        sum = zm::collect<zm::Matmul<What>>(F{left, right, sum}, 0, "matmul2d", zm_site).sum;
    }
};

}  // namespace mpp::tensor_ops
