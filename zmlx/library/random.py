"""Random numbers from counters: Philox-4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel Random Numbers: As Easy as 1, 2, 3",
SC 2011), with Triton's conventions, so that seeds and offsets give Triton's numbers."""

import zmlx.intrinsics as tl
from zmlx.ops.device import device_function

N_ROUNDS_DEFAULT = tl.constexpr(10)


@device_function
def philox_impl(c0, c1, c2, c3, k0, k1, n_rounds: tl.constexpr = N_ROUNDS_DEFAULT):
    """n_rounds rounds on four counters with two keys, all uint32 or all uint64."""
    if c0.dtype == tl.uint32:
        KEY_A: tl.constexpr = 0x9E3779B9
        KEY_B: tl.constexpr = 0xBB67AE85
        ROUND_A: tl.constexpr = 0xD2511F53
        ROUND_B: tl.constexpr = 0xCD9E8D57
    else:
        tl.static_assert(c0.dtype == tl.uint64, "philox counts in uint32 or uint64")
        KEY_A: tl.constexpr = 0x9E3779B97F4A7C15
        KEY_B: tl.constexpr = 0xBB67AE8584CAA73B
        ROUND_A: tl.constexpr = 0xD2E7470EE14C6C93
        ROUND_B: tl.constexpr = 0xCA5A826395121157
    for _ in tl.static_range(n_rounds):
        old_c0 = c0
        old_c2 = c2
        c0 = tl.umulhi(old_c2, ROUND_B) ^ c1 ^ k0
        c2 = tl.umulhi(old_c0, ROUND_A) ^ c3 ^ k1
        c1 = old_c2 * ROUND_B
        c3 = old_c0 * ROUND_A
        k0 = k0 + KEY_A
        k1 = k1 + KEY_B
    return c0, c1, c2, c3


@device_function
def philox(seed, c0, c1, c2, c3, n_rounds: tl.constexpr = N_ROUNDS_DEFAULT):
    """Four random words of the counters' width for a seed of up to 64 bits and four counters."""
    seed = tl.to_tensor(seed).to(tl.uint64)
    c0 = tl.to_tensor(c0)
    c1 = tl.to_tensor(c1)
    c2 = tl.to_tensor(c2)
    c3 = tl.to_tensor(c3)
    if c0.dtype.primitive_bitwidth == 32:
        u0 = c0.to(tl.uint32, bitcast=True)
        u1 = c1.to(tl.uint32, bitcast=True)
        u2 = c2.to(tl.uint32, bitcast=True)
        u3 = c3.to(tl.uint32, bitcast=True)
        seed_lo = (seed & 0xFFFFFFFF).to(tl.uint32)
        seed_hi = (seed >> 32).to(tl.uint32)
        return philox_impl(u0, u1, u2, u3, seed_lo, seed_hi, n_rounds)
    else:
        tl.static_assert(c0.dtype.primitive_bitwidth == 64, "philox counts in 32- or 64-bit integers")
        w0 = c0.to(tl.uint64, bitcast=True)
        w1 = c1.to(tl.uint64, bitcast=True)
        w2 = c2.to(tl.uint64, bitcast=True)
        w3 = c3.to(tl.uint64, bitcast=True)
        return philox_impl(w0, w1, w2, w3, seed, tl.full((), 0, tl.uint64), n_rounds)


@device_function
def randint4x(seed, offset, n_rounds: tl.constexpr = N_ROUNDS_DEFAULT):
    """Four tiles of random uint32 words, one of each an offset; the cheapest way to many numbers."""
    offset = tl.to_tensor(offset)
    low = offset.to(tl.uint32)
    zero = low * 0
    if offset.dtype.primitive_bitwidth > 32:
        return philox(seed, low, (offset >> 32).to(tl.uint32), zero, zero, n_rounds)
    else:
        return philox(seed, low, zero, zero, zero, n_rounds)


@device_function
def randint(seed, offset, n_rounds: tl.constexpr = N_ROUNDS_DEFAULT):
    """A tile of random uint32 words, one an offset."""
    word, _1, _2, _3 = randint4x(seed, offset, n_rounds)
    return word


@device_function
def uint_to_uniform_float(x):
    """Random integer words as float32 numbers in [0, 1)."""
    if x.dtype.primitive_bitwidth == 32:
        # The scale is the largest float32 that keeps the largest integer below 1.
        i = x.to(tl.int32, bitcast=True)
        return tl.where(i < 0, -i - 1, i) * 4.6566127342e-10
    else:
        tl.static_assert(x.dtype.primitive_bitwidth == 64, "uint_to_uniform_float takes 32- or 64-bit integers")
        j = x.to(tl.int64, bitcast=True)
        return tl.where(j < 0, -j - 1, j) * 1.0842020432385337e-19


@device_function
def rand(seed, offset, n_rounds: tl.constexpr = N_ROUNDS_DEFAULT):
    """float32 numbers uniform in [0, 1), one an offset; rand(5, 0) is 0.46803567."""
    return uint_to_uniform_float(randint(seed, offset, n_rounds))


@device_function
def rand4x(seed, offset, n_rounds: tl.constexpr = N_ROUNDS_DEFAULT):
    """Four tiles of float32 numbers uniform in [0, 1)."""
    i0, i1, i2, i3 = randint4x(seed, offset, n_rounds)
    return uint_to_uniform_float(i0), uint_to_uniform_float(i1), uint_to_uniform_float(i2), uint_to_uniform_float(i3)


@device_function
def pair_uniform_to_normal(u1, u2):
    """Two independent normal numbers from two uniform ones (Box and Muller's transform)."""
    u1 = tl.maximum(1.0e-7, u1)
    angle = 6.283185307179586 * u2
    radius = tl.sqrt(-2.0 * tl.log(u1))
    return radius * tl.cos(angle), radius * tl.sin(angle)


@device_function
def randn(seed, offset, n_rounds: tl.constexpr = N_ROUNDS_DEFAULT):
    """float32 numbers of the standard normal distribution, one an offset."""
    i1, i2, _2, _3 = randint4x(seed, offset, n_rounds)
    n1, _ = pair_uniform_to_normal(uint_to_uniform_float(i1), uint_to_uniform_float(i2))
    return n1


@device_function
def randn4x(seed, offset, n_rounds: tl.constexpr = N_ROUNDS_DEFAULT):
    """Four tiles of float32 numbers of the standard normal distribution."""
    u1, u2, u3, u4 = rand4x(seed, offset, n_rounds)
    n1, n2 = pair_uniform_to_normal(u1, u2)
    n3, n4 = pair_uniform_to_normal(u3, u4)
    return n1, n2, n3, n4
