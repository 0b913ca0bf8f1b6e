// Copies of boxes of a matrix into shared memory, by Hopper's own copying hardware: one thread asks for all of a stage.
//
// What describes a matrix to it (128 bytes: where it starts, how long and how far apart its rows are, what a box of it is) is
// made by each program for itself, in shared memory, and put in the workspace, from where the hardware reads it. The boxes
// arrive swizzled as zm_swizzle says; what lies outside of the matrix arrives as 0.
#ifndef ZM_CUDA_BULK_H
#define ZM_CUDA_BULK_H

// Where a map is. Computed anew for each copy, by the one thread that asks for it: kept, it would cost all threads registers.
ZM_FN unsigned char* zm_bulk_at(unsigned char* workspace, int number, int count) {
    unsigned x, y, z;
    asm volatile("mov.u32 %0, %%ctaid.x; mov.u32 %1, %%ctaid.y; mov.u32 %2, %%ctaid.z;" : "=r"(x), "=r"(y), "=r"(z));
    const unsigned program = x + gridDim.x * (y + gridDim.y * z);
    return workspace + ((unsigned long long)program * count + number) * 128;
}
ZM_FN bool zm_bulk_ready(const void* workspace) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
    return (unsigned long long)workspace % 128 == 0;
#else
    return false;
#endif
}
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
#define ZM_MAP(field, type, constraint, value) \
    asm volatile("tensormap.replace.tile." field ".shared::cta.b1024." type " [%0], %1;" ::"r"(at), constraint(value) : "memory")
#define ZM_MAP_OF(field, type, dim, constraint, value) \
    asm volatile("tensormap.replace.tile." field ".shared::cta.b1024." type " [%0], " dim ", %1;" ::"r"(at), constraint(value) : "memory")
#endif
// at: 128 bytes of shared memory, which warp 0 may overwrite.
template <int ROW, int BOX, int SIZE>
ZM_FN void zm_bulk_map(unsigned char* map, unsigned at, const void* base, long long stride, long long columns, long long rows) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
    if (threadIdx.x >= 32) return;
    asm volatile("st.shared.b32 [%0], %1;" ::"r"(at + threadIdx.x * 4), "r"(0) : "memory");
    __syncwarp();
    if (threadIdx.x == 0) {
        ZM_MAP("global_address", "b64", "l", base);
        ZM_MAP("rank", "b32", "n", 1);  // less one
        ZM_MAP_OF("box_dim", "b32", "0", "r", ROW / SIZE);
        ZM_MAP_OF("box_dim", "b32", "1", "r", BOX);
        ZM_MAP_OF("global_dim", "b32", "0", "r", (unsigned)columns);
        ZM_MAP_OF("global_dim", "b32", "1", "r", (unsigned)rows);
        ZM_MAP_OF("global_stride", "b64", "0", "l", stride);
        ZM_MAP_OF("element_stride", "b32", "0", "r", 1);
        ZM_MAP_OF("element_stride", "b32", "1", "r", 1);
        ZM_MAP("elemtype", "b32", "n", (SIZE == 1 ? 0 : SIZE == 2 ? 1 : 2));  // u8, u16, u32
        ZM_MAP("interleave_layout", "b32", "n", 0);
        ZM_MAP("swizzle_mode", "b32", "n", (ROW == 128 ? 3 : ROW == 64 ? 2 : 1));
        ZM_MAP("fill_mode", "b32", "n", 0);
    }
    __syncwarp();
    asm volatile("tensormap.cp_fenceproxy.global.shared::cta.tensormap::generic.release.gpu.sync.aligned [%0], [%1], 128;" ::"l"(map), "r"(at) : "memory");
    asm volatile("fence.proxy.tensormap::generic.acquire.gpu [%0], 128;" ::"l"(map) : "memory");
    // A copy may arrive where the map was made.
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
    __syncwarp();
#endif
}
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
#undef ZM_MAP
#undef ZM_MAP_OF
#endif
// The only arrival of a stage: its copies bring so many bytes.
ZM_FN void zm_ring_expect(unsigned ring, int stage, int bytes) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
    asm volatile("{ .reg .b64 t; mbarrier.arrive.expect_tx.shared.b64 t, [%0], %1; }" ::"r"(ring + 8 * stage), "r"(bytes) : "memory");
#endif
}
// PANELS boxes side by side, each of ROW bytes by BOX rows.
template <int ROW, int BOX, int PANELS, int SIZE>
ZM_FN void zm_bulk_copy(const unsigned char* map, unsigned to, unsigned ring, int stage, int column, int row) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
#pragma unroll
    for (int i = 0; i < PANELS; ++i)
        asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3}], [%4];" ::"r"(to + i * ROW * BOX),
                     "l"(map), "r"(column + i * (ROW / SIZE)), "r"(row), "r"(ring + 8 * stage) : "memory");
#endif
}
#endif
