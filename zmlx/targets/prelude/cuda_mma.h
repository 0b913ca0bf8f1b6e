// Tile products on tensor cores: acc += a @ b for one program, operands in swizzled shared memory (a: also in registers).
//
// A shared operand is a matrix of rows of ROW bytes, along its contiguous dimension; what exceeds 128 bytes goes on in the
// next panel of rows. 16-byte chunks of a row are swapped by the number of the row (zm_swizzle), so that neither copies nor
// reads along any dimension meet in a bank. It is the layout that wgmma's descriptors name 128B, 64B and 32B swizzle.
#ifndef ZM_CUDA_MMA_H
#define ZM_CUDA_MMA_H

template <int ROW> ZM_FN unsigned zm_swizzle(unsigned byte) {
    return byte ^ ((byte >> 3) & (ROW == 128 ? 0x70 : ROW == 64 ? 0x30 : ROW == 32 ? 0x10 : 0));
}
// Where a byte of a row lies, in an operand of ROWS rows.
template <int ROW, int ROWS> ZM_FN unsigned zm_place(int row, int byte) {
    return byte / ROW * (ROWS * ROW) + zm_swizzle<ROW>(row * ROW + byte % ROW);
}
// Where a program's shared memory starts, computed once: the compiler would do so again before every access.
ZM_FN unsigned zm_start(const void* shared) {
    unsigned at = (unsigned)__cvta_generic_to_shared(shared);
    asm volatile("" : "+r"(at));
    return at;
}

// 2, 4, 8 or 16 bytes of registers to shared memory and back; the address is a multiple of them.
template <int N, class T> ZM_FN void zm_put(T* to, const zm_id<T>* array) {
    typename zm_words<N * sizeof(T)>::type words;
    memcpy(&words, array, sizeof words);
    *(typename zm_words<N * sizeof(T)>::type*)to = words;
}
template <int N, class T> ZM_FN void zm_take(zm_id<T>* array, const T* from) {
    typename zm_words<N * sizeof(T)>::type words = *(const typename zm_words<N * sizeof(T)>::type*)from;
    memcpy(array, &words, sizeof words);
}

// ---- copies from device to shared memory that run beside the program ---------------------------------------------------

ZM_FN void zm_copy_async16(unsigned to, const void* from) {
    asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16;" ::"r"(to), "l"(from) : "memory");
}
ZM_FN void zm_copies_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// Waits until at most N groups are under way.
template <int N> ZM_FN void zm_copies_wait() { asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory"); }

// A ring of S stages, at an address in shared memory: S barriers that say that a stage is filled, S that it is free again. A
// thread so waits for those whose work it needs, not for all to be where it is. `phase`: whether the ring has been round an odd
// number of times.
// arrivals: that fill a stage.
template <int S> ZM_FN void zm_ring_make(unsigned ring, int arrivals) {
    if (threadIdx.x == 0) {
#pragma unroll
        for (int i = 0; i < 2 * S; ++i)
            asm volatile("mbarrier.init.shared.b64 [%0], %1;" ::"r"(ring + 8 * i), "r"(i < S ? arrivals : (int)blockDim.x / 32) : "memory");
    }
    __syncthreads();
}
template <int S> ZM_FN void zm_ring_end(unsigned ring) {
    __syncthreads();
    if (threadIdx.x == 0) {
#pragma unroll
        for (int i = 0; i < 2 * S; ++i) asm volatile("mbarrier.inval.shared.b64 [%0];" ::"r"(ring + 8 * i) : "memory");
    }
}
ZM_FN void zm_ring_wait(unsigned barrier, int phase) {
#if __CUDA_ARCH__ >= 900
#define ZM_WAIT "try_wait"
#else
#define ZM_WAIT "test_wait"
#endif
    asm volatile("{ .reg .pred p; again: mbarrier." ZM_WAIT ".parity.shared.b64 p, [%0], %1; @p bra done; bra again; done: }"
                 ::"r"(barrier), "r"(phase) : "memory");
}
// Once the copies that this thread has started are there, it has filled its part of a stage.
ZM_FN void zm_ring_fill(unsigned ring, int stage) {
    asm volatile("cp.async.mbarrier.arrive.noinc.shared.b64 [%0];" ::"r"(ring + 8 * stage) : "memory");
}
ZM_FN void zm_ring_filled(unsigned ring, int stage, int phase) { zm_ring_wait(ring + 8 * stage, phase); }
template <int S> ZM_FN void zm_ring_freed(unsigned ring, int stage, int phase) { zm_ring_wait(ring + 8 * (S + stage), phase ^ 1); }
template <int S> ZM_FN void zm_ring_free(unsigned ring, int stage) {
    __syncwarp();
    if (threadIdx.x % 32 == 0)
        asm volatile("{ .reg .b64 t; mbarrier.arrive.shared.b64 t, [%0]; }" ::"r"(ring + 8 * (S + stage)) : "memory");
}
// What this thread has stored in shared memory is seen by wgmma, which reads it on a path of its own, after a barrier.
ZM_FN void zm_publish() {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#endif
}

// ---- one warp: ldmatrix and mma.sync ------------------------------------------------------------------------------------

template <bool TRANS> ZM_FN void zm_ldmatrix(unsigned (&r)[4], unsigned from) {
    if constexpr (TRANS)
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(from) : "memory");
    else
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(from) : "memory");
}
#define ZM_MMA(T, Acc, shape, types, constraint)                                                                      \
    ZM_FN void zm_mma_step(Acc* d, const unsigned (&a)[4], unsigned b0, unsigned b1, T) {                             \
        asm("mma.sync.aligned." shape ".row.col." types " {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};" \
            : constraint(d[0]), constraint(d[1]), constraint(d[2]), constraint(d[3])                                  \
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));                                          \
    }
ZM_MMA(zm_half, float, "m16n8k16", "f32.f16.f16.f32", "+f")
ZM_MMA(zm_bf16, float, "m16n8k16", "f32.bf16.bf16.f32", "+f")
ZM_MMA(float, float, "m16n8k8", "f32.tf32.tf32.f32", "+f")
ZM_MMA(signed char, int, "m16n8k32", "s32.s8.s8.s32", "+r")
ZM_MMA(unsigned char, int, "m16n8k32", "s32.u8.u8.s32", "+r")
#undef ZM_MMA

ZM_FN unsigned zm_tf32(unsigned x) {
    unsigned r;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(r) : "f"(__uint_as_float(x)));
    return r;
}
// What tf32 drops of a float, as another tf32.
ZM_FN unsigned zm_tf32_rest(unsigned x, unsigned high) { return zm_tf32(__float_as_uint(__uint_as_float(x) - __uint_as_float(high))); }
template <class T> ZM_FN unsigned zm_pair(T low, T high) { return (unsigned)high.bits << 16 | low.bits; }

// How often tf32 products are taken apart: 1 drops bits of the operands, 3 keeps about those of float32.
template <int SPLIT, class T, class Acc> ZM_FN void zm_mma_any(Acc* d, const unsigned (&a)[4], unsigned b0, unsigned b1) {
    if constexpr (zm_same<T, float>) {
        unsigned high[4], c0 = zm_tf32(b0), c1 = zm_tf32(b1);
#pragma unroll
        for (int i = 0; i < 4; ++i) high[i] = zm_tf32(a[i]);
        if constexpr (SPLIT == 3) {
            unsigned rest[4];
#pragma unroll
            for (int i = 0; i < 4; ++i) rest[i] = zm_tf32_rest(a[i], high[i]);
            zm_mma_step(d, rest, c0, c1, T());
            zm_mma_step(d, high, zm_tf32_rest(b0, c0), zm_tf32_rest(b1, c1), T());
        }
        zm_mma_step(d, high, c0, c1, T());
    } else {
        zm_mma_step(d, a, b0, b1, T());
    }
}

// ---- four warps: wgmma, Hopper's product of operands in shared memory ---------------------------------------------------

#ifdef __CUDA_ARCH_FEAT_SM90_ALL
// The matrix that starts at an address: distances between panels and between groups of eight rows, in bytes.
template <int ROW> ZM_FN unsigned long long zm_descriptor(unsigned from, int panel, int eight) {
    constexpr unsigned long long swizzle = ROW == 128 ? 1 : ROW == 64 ? 2 : 3;
    return (unsigned long long)((from & 0x3ffff) >> 4) | (unsigned long long)(panel >> 4) << 16 | (unsigned long long)(eight >> 4) << 32 | swizzle << 62;
}
template <int N> struct zm_wgmma;
#define ZM_WGMMA_TYPE(N, T, type, A, A1, A2, A3, X, Y)                                                              \
    template <int TA, int TB> static __device__ __forceinline__ void step(float* d, unsigned long long a, unsigned long long b, T) { \
        asm volatile("{ .reg .pred p; setp.ne.b32 p, 1, 0; wgmma.mma_async.sync.aligned.m64n" #N "k16.f32." type "." type " {" ZM_ACC##N "}, " A ", " A1 ", p, 1, 1, " A2 ", " A3 "; }" \
                     : ZM_OUT##N : "l"(a), "l"(b), "n"(TA), "n"(TB));                                                     \
    }                                                                                                                     \
    template <int TB> static __device__ __forceinline__ void step(float* d, const unsigned (&a)[4], unsigned long long b, T) { \
        asm volatile("{ .reg .pred p; setp.ne.b32 p, 1, 0; wgmma.mma_async.sync.aligned.m64n" #N "k16.f32." type "." type " {" ZM_ACC##N "}, {" A ", " A1 ", " A2 ", " A3 "}, " X ", p, 1, 1, " Y "; }" \
                     : ZM_OUT##N : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "n"(TB));                          \
    }
#define ZM_WGMMA(N, A, A1, A2, A3, X, Y)                                                                                  \
    template <> struct zm_wgmma<N> {                                                                                      \
        ZM_WGMMA_TYPE(N, zm_half, "f16", A, A1, A2, A3, X, Y)                                                         \
        ZM_WGMMA_TYPE(N, zm_bf16, "bf16", A, A1, A2, A3, X, Y)                                                        \
    };
// ZM_ACC: the accumulator's registers in the text; ZM_OUT: as operands. The numbers of the other operands follow.
#define ZM_ACC8 \
    "%0, %1, %2, %3 "
#define ZM_OUT8 \
    "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
ZM_WGMMA(8, "%4", "%5", "%6", "%7", "%8", "%9")
#define ZM_ACC16 \
    "%0, %1, %2, %3, %4, %5, %6, %7 "
#define ZM_OUT16 \
    "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7])
ZM_WGMMA(16, "%8", "%9", "%10", "%11", "%12", "%13")
#define ZM_ACC32 \
    "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15 "
#define ZM_OUT32 \
    "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]), \
    "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15])
ZM_WGMMA(32, "%16", "%17", "%18", "%19", "%20", "%21")
#define ZM_ACC64 \
    "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, " \
    "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31 "
#define ZM_OUT64 \
    "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]), \
    "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15]), \
    "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), "+f"(d[21]), "+f"(d[22]), "+f"(d[23]), \
    "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), "+f"(d[28]), "+f"(d[29]), "+f"(d[30]), "+f"(d[31])
ZM_WGMMA(64, "%32", "%33", "%34", "%35", "%36", "%37")
#define ZM_ACC128 \
    "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, " \
    "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, " \
    "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, " \
    "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63 "
#define ZM_OUT128 \
    "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]), \
    "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15]), \
    "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), "+f"(d[21]), "+f"(d[22]), "+f"(d[23]), \
    "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), "+f"(d[28]), "+f"(d[29]), "+f"(d[30]), "+f"(d[31]), \
    "+f"(d[32]), "+f"(d[33]), "+f"(d[34]), "+f"(d[35]), "+f"(d[36]), "+f"(d[37]), "+f"(d[38]), "+f"(d[39]), \
    "+f"(d[40]), "+f"(d[41]), "+f"(d[42]), "+f"(d[43]), "+f"(d[44]), "+f"(d[45]), "+f"(d[46]), "+f"(d[47]), \
    "+f"(d[48]), "+f"(d[49]), "+f"(d[50]), "+f"(d[51]), "+f"(d[52]), "+f"(d[53]), "+f"(d[54]), "+f"(d[55]), \
    "+f"(d[56]), "+f"(d[57]), "+f"(d[58]), "+f"(d[59]), "+f"(d[60]), "+f"(d[61]), "+f"(d[62]), "+f"(d[63])
ZM_WGMMA(128, "%64", "%65", "%66", "%67", "%68", "%69")
#define ZM_ACC256 \
    "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, " \
    "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, " \
    "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, " \
    "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, " \
    "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, " \
    "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, " \
    "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, " \
    "%112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127 "
#define ZM_OUT256 \
    "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]), \
    "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15]), \
    "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), "+f"(d[21]), "+f"(d[22]), "+f"(d[23]), \
    "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), "+f"(d[28]), "+f"(d[29]), "+f"(d[30]), "+f"(d[31]), \
    "+f"(d[32]), "+f"(d[33]), "+f"(d[34]), "+f"(d[35]), "+f"(d[36]), "+f"(d[37]), "+f"(d[38]), "+f"(d[39]), \
    "+f"(d[40]), "+f"(d[41]), "+f"(d[42]), "+f"(d[43]), "+f"(d[44]), "+f"(d[45]), "+f"(d[46]), "+f"(d[47]), \
    "+f"(d[48]), "+f"(d[49]), "+f"(d[50]), "+f"(d[51]), "+f"(d[52]), "+f"(d[53]), "+f"(d[54]), "+f"(d[55]), \
    "+f"(d[56]), "+f"(d[57]), "+f"(d[58]), "+f"(d[59]), "+f"(d[60]), "+f"(d[61]), "+f"(d[62]), "+f"(d[63]), \
    "+f"(d[64]), "+f"(d[65]), "+f"(d[66]), "+f"(d[67]), "+f"(d[68]), "+f"(d[69]), "+f"(d[70]), "+f"(d[71]), \
    "+f"(d[72]), "+f"(d[73]), "+f"(d[74]), "+f"(d[75]), "+f"(d[76]), "+f"(d[77]), "+f"(d[78]), "+f"(d[79]), \
    "+f"(d[80]), "+f"(d[81]), "+f"(d[82]), "+f"(d[83]), "+f"(d[84]), "+f"(d[85]), "+f"(d[86]), "+f"(d[87]), \
    "+f"(d[88]), "+f"(d[89]), "+f"(d[90]), "+f"(d[91]), "+f"(d[92]), "+f"(d[93]), "+f"(d[94]), "+f"(d[95]), \
    "+f"(d[96]), "+f"(d[97]), "+f"(d[98]), "+f"(d[99]), "+f"(d[100]), "+f"(d[101]), "+f"(d[102]), "+f"(d[103]), \
    "+f"(d[104]), "+f"(d[105]), "+f"(d[106]), "+f"(d[107]), "+f"(d[108]), "+f"(d[109]), "+f"(d[110]), "+f"(d[111]), \
    "+f"(d[112]), "+f"(d[113]), "+f"(d[114]), "+f"(d[115]), "+f"(d[116]), "+f"(d[117]), "+f"(d[118]), "+f"(d[119]), \
    "+f"(d[120]), "+f"(d[121]), "+f"(d[122]), "+f"(d[123]), "+f"(d[124]), "+f"(d[125]), "+f"(d[126]), "+f"(d[127])
ZM_WGMMA(256, "%128", "%129", "%130", "%131", "%132", "%133")
#undef ZM_WGMMA
#undef ZM_WGMMA_TYPE

// Values that are complete here: nothing of their making moves behind this point.
template <int R> ZM_FN void zm_hold(float (&x)[R]) {
#pragma unroll
    for (int i = 0; i < R; ++i) asm volatile("" : "+f"(x[i])::"memory");
}
template <int R> ZM_FN void zm_hold(unsigned (&x)[R][4]) {
#pragma unroll
    for (int i = 0; i < 4 * R; ++i) asm volatile("" : "+r"(x[i / 4][i % 4])::"memory");
}
#endif

// ---- a program's product ------------------------------------------------------------------------------------------------

// Warps: WM along the rows, then WN along the columns; what remains repeats. A thread's part of acc, fastest first: two
// neighbours of a row, rows 8 apart, columns 8 apart, rows 16 * WM apart; of `a` in registers likewise (its columns are k).
// AR, BR: bytes of a row of the operand in shared memory (AR = 0: registers); AK, BK: whether its rows run along k.
// `a` is registers or an address in shared memory, as `b` is; `warp` is one number for a warp's lanes, known to be so.
template <class T, int M, int N, int K, int WM, int WN, int AR, bool AK, int BR, bool BK, int SPLIT, class Acc, int R, class Left>
ZM_FN void zm_mma(Acc (&acc)[R], Left a, unsigned b, int warp, int lane) {
    constexpr int E = sizeof(T), STEP = 32 / E, PASSES = M / (16 * WM), NW = N / WN;
    constexpr int AP = AK ? M : K, BP = BK ? N : K;  // rows of the operands
    static_assert(R == PASSES * NW / 2, "the accumulator holds what the warps cover");
    const int m0 = warp % WM * 16, n0 = warp / WM % WN * NW;
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
    if constexpr (E == 2 && NW <= 256 && WM % 4 == 0 && BR >= 32 && (AR == 0 || AR == 128 || (AK && AR >= 32))) {
        const int first = m0 / 64 * 64, column = n0;
        // Descriptors of the first step; later ones differ by numbers that are known here.
        const unsigned long long second = zm_descriptor<BR>(b + (BK ? column * BR : column * E / BR * (BP * BR) + column * E % BR), BK ? 16 : BP * BR, 8 * BR);
        unsigned long long left = 0;
        if constexpr (AR != 0) left = zm_descriptor<AR>(a + (AK ? first * AR : first * E / AR * (AP * AR)), AK ? 16 : AP * AR, 8 * AR);
        unsigned words[PASSES * K / STEP][4];
        if constexpr (AR == 0) {
#pragma unroll
            for (int i = 0; i < PASSES * K / STEP * 4; ++i) words[i / 4][i % 4] = zm_pair(a[2 * i], a[2 * i + 1]);
            zm_hold(words);
        }
        zm_hold(acc);
        asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#pragma unroll
        for (int pass = 0; pass < PASSES; ++pass) {
#pragma unroll
            for (int k = 0; k < K; k += STEP) {
                const int row = pass * 16 * WM, to_b = BK ? k * E / BR * (BP * BR) + k * E % BR : k * BR;
                float* d = acc + pass * (NW / 2);
                if constexpr (AR == 0) {
                    zm_wgmma<NW>::template step<!BK>(d, words[(pass * K + k) / STEP], second + (to_b >> 4), T());
                } else {
                    const int to_a = AK ? k * E / AR * (AP * AR) + row * AR + k * E % AR : row * E / AR * (AP * AR) + k * AR;
                    zm_wgmma<NW>::template step<!AK, !BK>(d, left + (to_a >> 4), second + (to_b >> 4), T());
                }
            }
        }
        asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
        return;
    }
#endif
#pragma unroll
    for (int k = 0; k < K; k += STEP) {
        unsigned bs[(NW + 15) / 16][4];
#pragma unroll
        for (int n = 0; n < NW; n += 16) {
            const int half = NW >= 16 ? lane >> 4 : 0;
            if constexpr (BK)
                zm_ldmatrix<false>(bs[n / 16], b + zm_place<BR, BP>(n0 + n + lane % 8 + half * 8, k * E + lane / 8 % 2 * 16));
            else
                zm_ldmatrix<true>(bs[n / 16], b + zm_place<BR, BP>(k + lane % 16, (n0 + n + half * 8) * E));
        }
#pragma unroll
        for (int pass = 0; pass < PASSES; ++pass) {
            const int row = pass * 16 * WM + m0;
            unsigned words[4];
            if constexpr (AR == 0) {
                const T* x = a + pass * (K / 2) + k / 2;
#pragma unroll
                for (int i = 0; i < 4; ++i) words[i] = zm_pair(x[2 * i], x[2 * i + 1]);
            } else if constexpr (AK) {
                zm_ldmatrix<false>(words, a + zm_place<AR, AP>(row + lane % 16, k * E + lane / 16 * 16));
            } else {
                zm_ldmatrix<true>(words, a + zm_place<AR, AP>(k + lane % 8 + lane / 16 * 8, (row + lane / 8 % 2 * 8) * E));
            }
#pragma unroll
            for (int n = 0; n < NW / 8; ++n)
                zm_mma_any<SPLIT, T>(acc + pass * (NW / 2) + n * 4, words, bs[n / 2][n % 2 * 2], bs[n / 2][n % 2 * 2 + 1]);
        }
    }
}

// Until at most N products are under way, acc is not to be touched.
template <int N, class Acc, int R> ZM_FN void zm_mma_wait(Acc (&acc)[R]) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
    if constexpr (zm_same<Acc, float>) {
        asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory");
        zm_hold(acc);
    }
#endif
}
#endif
