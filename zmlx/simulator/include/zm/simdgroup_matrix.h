// <metal_simdgroup_matrix>: 8×8 matrices, two elements a lane.
#pragma once

#include "atomic.h"

namespace metal {

template <class T, int Columns = 8, int Rows = Columns>
struct simdgroup_matrix {
    static_assert(Columns == 8 && Rows == 8, "Metal's simdgroup matrices are 8x8");
    static_assert(zm::Float<T>, "Metal's simdgroup matrices are of half, bfloat or float");
    vec<T, 2> elements;

    simdgroup_matrix() = default;
    // The number on the diagonal, zeros elsewhere.
    explicit simdgroup_matrix(T diagonal) : elements(T(0)) {
        uint row, column;
        place(zm::self().lane, row, column);
        if (row == column) elements.d[0] = diagonal;
        if (row == column + 1) elements.d[1] = diagonal;
    }
    vec<T, 2>& thread_elements() { return elements; }
    const vec<T, 2>& thread_elements() const { return elements; }
    // Where a lane's first element lies; its second one is the next of the row.
    ZM_UNCHECKED static void place(uint lane, uint& row, uint& column) {
        const uint quad = lane / 4;
        row = (quad & 4) + lane / 2 % 4;
        column = (quad & 2) * 2 + lane % 2 * 2;
    }
};
using simdgroup_float8x8 = simdgroup_matrix<float, 8, 8>;
using simdgroup_half8x8 = simdgroup_matrix<half, 8, 8>;
using simdgroup_bfloat8x8 = simdgroup_matrix<bfloat, 8, 8>;

template <class T, int Columns, int Rows = Columns>
inline simdgroup_matrix<T, Columns, Rows> make_filled_simdgroup_matrix(T value) {
    simdgroup_matrix<T, Columns, Rows> m;
    m.elements = vec<T, 2>(value);
    return m;
}
template <class T, int Columns, int Rows = Columns>
inline simdgroup_matrix<T, Columns, Rows> make_diagonal_simdgroup_matrix(T value) { return simdgroup_matrix<T, Columns, Rows>(value); }

}  // namespace metal

namespace zm {

template <class D, class A, class B, class C>
struct Factors {
    metal::vec<A, 2> a;
    metal::vec<B, 2> b;
    metal::vec<C, 2> c;
    metal::vec<D, 2> d;
};
// d = a · b + c, accumulated in float from the first column on, and rounded once.
struct Product {
    template <class D, class A, class B, class C>
    ZM_UNCHECKED static void run(Slot<Factors<D, A, B, C>>** slots, uint32_t mask) {
        float a[8][8] = {}, b[8][8] = {};
        ZM_LANES(l, mask) {
            uint row, column;
            metal::simdgroup_matrix<float>::place(l, row, column);
            for (int k = 0; k < 2; ++k) {
                a[row][column + k] = float(slots[l]->in.a.d[k]);
                b[row][column + k] = float(slots[l]->in.b.d[k]);
            }
        }
        ZM_LANES(l, mask) {
            uint row, column;
            metal::simdgroup_matrix<float>::place(l, row, column);
            for (int k = 0; k < 2; ++k) {
                float sum = float(slots[l]->in.c.d[k]);
                for (int i = 0; i < 8; ++i) sum += a[row][i] * b[i][column + k];
                slots[l]->out.d.d[k] = D(sum);
            }
        }
    }
};
struct Nothing {
    ZM_UNCHECKED static void run(Slot<uint32_t>**, uint32_t) {}
};

}  // namespace zm

namespace metal {

template <class D, class A, class B, class C>
inline void simdgroup_multiply_accumulate(
    simdgroup_matrix<D>& d, const simdgroup_matrix<A>& a, const simdgroup_matrix<B>& b, const simdgroup_matrix<C>& c, ZM_SITE) {
    using F = zm::Factors<D, A, B, C>;
    d.elements = zm::collect<zm::Product>(F{a.elements, b.elements, c.elements, {}}, 0, "simdgroup_multiply_accumulate", zm_site).d;
}
template <class D, class A, class B>
inline void simdgroup_multiply(simdgroup_matrix<D>& d, const simdgroup_matrix<A>& a, const simdgroup_matrix<B>& b, ZM_SITE) {
    using F = zm::Factors<D, A, B, D>;
    d.elements = zm::collect<zm::Product>(F{a.elements, b.elements, vec<D, 2>(D(0)), {}}, 0, "simdgroup_multiply", zm_site).d;
}
// Each lane touches its own two elements of memory, which the sanitizer sees.
template <class T, class U>
    requires std::is_same_v<std::remove_cv_t<U>, T>
inline void simdgroup_load(simdgroup_matrix<T>& m, U* from, ulong row_elements = 8, ulong2 origin = ulong2(0), bool transpose = false, ZM_SITE) {
    uint row, column;
    simdgroup_matrix<T>::place(zm::self().lane, row, column);
    zm::collect<zm::Nothing>(uint32_t(0), 0, "simdgroup_load", zm_site);
    for (uint k = 0; k < 2; ++k)
        m.elements.d[k] = transpose ? from[(origin[1] + column + k) * row_elements + origin[0] + row] : from[(origin[1] + row) * row_elements + origin[0] + column + k];
}
template <class T, class U>
    requires std::is_same_v<U, T>
inline void simdgroup_store(const simdgroup_matrix<T>& m, U* to, ulong row_elements = 8, ulong2 origin = ulong2(0), bool transpose = false, ZM_SITE) {
    uint row, column;
    simdgroup_matrix<T>::place(zm::self().lane, row, column);
    zm::collect<zm::Nothing>(uint32_t(0), 0, "simdgroup_store", zm_site);
    for (uint k = 0; k < 2; ++k)
        (transpose ? to[(origin[1] + column + k) * row_elements + origin[0] + row] : to[(origin[1] + row) * row_elements + origin[0] + column + k]) = m.elements.d[k];
}

}  // namespace metal
