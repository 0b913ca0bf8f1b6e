#include "memory.h"

#include <cstdint>
#include <iterator>
#include <mutex>
#include <new>
#include <vector>

#ifdef __linux__
#include <sys/mman.h>
#endif

namespace zmlx {

namespace {

namespace allocator = mlx::core::allocator;

constexpr size_t kLarge = size_t(1) << 20, kPage = size_t(2) << 20, kMostKept = size_t(256) << 20;

struct Kept {
    std::mutex lock;
    std::vector<allocator::Buffer> buffers;  // oldest first
    size_t bytes = 0;
};

// Never destroyed: arrays may outlive static objects.
Kept& kept() {
    static Kept* one = new Kept;
    return *one;
}

void keep(allocator::Buffer buffer) {
    auto& a = allocator::allocator();
    std::vector<allocator::Buffer> out;
    {
        Kept& k = kept();
        std::lock_guard hold(k.lock);
        k.buffers.push_back(buffer);
        k.bytes += a.size(buffer);
        while (k.bytes > kMostKept) {
            out.push_back(k.buffers.front());
            k.bytes -= a.size(k.buffers.front());
            k.buffers.erase(k.buffers.begin());
        }
    }
    for (auto b : out) a.free(b);
}

void ask_for_large_pages(allocator::Buffer buffer, size_t bytes) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    auto start = reinterpret_cast<uintptr_t>(buffer.raw_ptr());
    uintptr_t first = (start + kPage - 1) / kPage * kPage, last = (start + bytes) / kPage * kPage;
    if (first < last) madvise(reinterpret_cast<void*>(first), last - first, MADV_HUGEPAGE);  // advice: failing changes nothing
#endif
}

}  // namespace

allocator::Data fresh(size_t bytes) {
    auto& a = allocator::allocator();
    if (bytes < kLarge) return allocator::malloc(bytes);
    {
        Kept& k = kept();
        std::lock_guard hold(k.lock);
        for (auto it = k.buffers.rbegin(); it != k.buffers.rend(); ++it) {
            size_t size = a.size(*it);
            if (size < bytes || size - bytes > bytes / 8) continue;
            allocator::Buffer found = *it;
            k.buffers.erase(std::next(it).base());
            k.bytes -= size;
            return {found, keep};
        }
    }
    allocator::Buffer made = a.malloc(bytes);
    if (!made.ptr()) throw std::bad_alloc();
    ask_for_large_pages(made, bytes);
    return {made, keep};
}

size_t clear_kept() {
    Kept& k = kept();
    std::vector<allocator::Buffer> out;
    size_t bytes;
    {
        std::lock_guard hold(k.lock);
        out.swap(k.buffers);
        bytes = k.bytes;
        k.bytes = 0;
    }
    for (auto b : out) allocator::allocator().free(b);
    return bytes;
}

}  // namespace zmlx
