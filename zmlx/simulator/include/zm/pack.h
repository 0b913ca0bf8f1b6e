// <metal_pack>: to nearest even, NaN as 0; the first element in the lowest bits.
#pragma once

#include "integer.h"

namespace zm {

// A number between -1 and 1 as an integer up to `most`.
inline int32_t scaled(float x, float most) { return x == x ? int32_t(metal::rint(metal::clamp(x, -1.0f, 1.0f) * most)) : 0; }
inline float to_srgb(float x) { return x < 0.0031308f ? 12.92f * x : 1.055f * metal::pow(x, 1.0f / 2.4f) - 0.055f; }
inline float from_srgb(float x) { return x <= 0.04045f ? x / 12.92f : metal::pow((x + 0.055f) / 1.055f, 2.4f); }

}  // namespace zm

namespace metal {

inline float2 unpack_unorm2x16_to_float(uint x) { return float2(float(x & 0xffff) / 65535.0f, float(x >> 16) / 65535.0f); }
inline float2 unpack_snorm2x16_to_float(uint x) {
    return float2(max(float(short(x & 0xffff)) / 32767.0f, -1.0f), max(float(short(x >> 16)) / 32767.0f, -1.0f));
}
inline float4 unpack_unorm4x8_to_float(uint x) {
    return float4(float(x & 255) / 255.0f, float(x >> 8 & 255) / 255.0f, float(x >> 16 & 255) / 255.0f, float(x >> 24) / 255.0f);
}
inline float4 unpack_snorm4x8_to_float(uint x) {
    float4 r;
    for (int i = 0; i < 4; ++i) r[i] = max(float(char(x >> 8 * i & 255)) / 127.0f, -1.0f);
    return r;
}
inline float4 unpack_unorm4x8_srgb_to_float(uint x) {
    const float4 v = unpack_unorm4x8_to_float(x);
    return float4(zm::from_srgb(v[0]), zm::from_srgb(v[1]), zm::from_srgb(v[2]), v[3]);
}
inline float4 unpack_unorm10a2_to_float(uint x) {
    return float4(float(x & 1023) / 1023.0f, float(x >> 10 & 1023) / 1023.0f, float(x >> 20 & 1023) / 1023.0f, float(x >> 30) / 3.0f);
}
inline half4 unpack_unorm4x8_srgb_to_half(uint x) { return half4(unpack_unorm4x8_srgb_to_float(x)); }
inline half4 unpack_unorm10a2_to_half(uint x) { return half4(unpack_unorm10a2_to_float(x)); }
inline half4 unpack_unorm4x8_to_half(uint x) { return half4(unpack_unorm4x8_to_float(x)); }
inline half4 unpack_snorm4x8_to_half(uint x) { return half4(unpack_snorm4x8_to_float(x)); }
inline half2 unpack_unorm2x16_to_half(uint x) { return half2(unpack_unorm2x16_to_float(x)); }
inline half2 unpack_snorm2x16_to_half(uint x) { return half2(unpack_snorm2x16_to_float(x)); }
inline uint pack_float_to_unorm2x16(float2 v) {
    return uint(rint(saturate(v[0]) * 65535.0f)) | uint(rint(saturate(v[1]) * 65535.0f)) << 16;
}
inline uint pack_float_to_snorm2x16(float2 v) {
    return uint(ushort(zm::scaled(v[0], 32767.0f))) | uint(ushort(zm::scaled(v[1], 32767.0f))) << 16;
}
inline uint pack_float_to_unorm4x8(float4 v) {
    uint r = 0;
    for (int i = 0; i < 4; ++i) r |= uint(rint(saturate(v[i]) * 255.0f)) << 8 * i;
    return r;
}
inline uint pack_float_to_snorm4x8(float4 v) {
    uint r = 0;
    for (int i = 0; i < 4; ++i) r |= uint(uchar(zm::scaled(v[i], 127.0f))) << 8 * i;
    return r;
}
inline uint pack_float_to_srgb_unorm4x8(float4 v) {
    v = saturate(v);
    return pack_float_to_unorm4x8(float4(zm::to_srgb(v[0]), zm::to_srgb(v[1]), zm::to_srgb(v[2]), v[3]));
}
inline uint pack_float_to_unorm10a2(float4 v) {
    v = saturate(v) * float4(1023.0f, 1023.0f, 1023.0f, 3.0f);
    return uint(rint(v[0])) | uint(rint(v[1])) << 10 | uint(rint(v[2])) << 20 | uint(rint(v[3])) << 30;
}
inline uint pack_half_to_srgb_unorm4x8(half4 v) { return pack_float_to_srgb_unorm4x8(float4(v)); }
inline uint pack_half_to_unorm10a2(half4 v) { return pack_float_to_unorm10a2(float4(v)); }
inline uint pack_half_to_unorm4x8(half4 v) { return pack_float_to_unorm4x8(float4(v)); }
inline uint pack_half_to_snorm4x8(half4 v) { return pack_float_to_snorm4x8(float4(v)); }
inline uint pack_half_to_unorm2x16(half2 v) { return pack_float_to_unorm2x16(float2(v)); }
inline uint pack_half_to_snorm2x16(half2 v) { return pack_float_to_snorm2x16(float2(v)); }

}  // namespace metal
