"""MSL that the simulator's headers take, and MSL-like text that Metal refuses and so must they, with each compiler."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from zmlx.simulator import preamble

SIMULATOR = Path(preamble.__file__).parent
CLANG = next((c for c in ("clang++", *(f"clang++-{n}" for n in range(22, 14, -1))) if shutil.which(c)), "")
COMPILERS = [c for c in ("g++", CLANG) if shutil.which(c)]

TAKEN = """
    {
        float4 v=float4(1); float x=normalize(v.xyz).x;
    }
    {
        float4 v=float4(1); float x=length(v.xy)+dot(v.xy,v.zw)+distance(v.xy,v.zw);
    }
    {
        float4 v=float4(1); float3 x=cross(v.xyz,v.yzw);
    }
    {
        float4 v=float4(1); float2 x=simd_sum(v.xy);
    }
    {
        float4 v=float4(1); float2 x=simd_shuffle(v.xy,1); auto y=simd_shuffle_and_fill_up(v.xy,v.zw,1);
    }
    {
        float4 v=float4(1); float2 x=select(v.xy,v.zw,v.xy>v.zw);
    }
    {
        const float4 v=float4(1); float4 x=select(v,float4(0),isnan(v)); float4 y=select(v,float4(0),true);
    }
    {
        float4 v=float4(1); bool b=any(v.xy>v.zw)||all(v==v); bool4 c=bool4(true); bool d=all(c.xy);
    }
    {
        packed_float3 p=packed_float3(1,2,3); float x=p.x+p.y+p.z; p.x=2; float3 f=p; p=f; p+=f; p*=2; float3 g=p*2+p;
        float3 h=p.xyz;
    }
    {
        packed_int3 p; p.x=1; p.y=2; p.z=3; p.xy=int2(1,2);
    }
    {
        packed_char4 c=packed_char4(1,2,3,4); float4 f=float4(c); char4 d=c; float4 g=float4(d);
    }
    {
        packed_half4 h=packed_half4(half4(1)); float4 f=float4(half4(h)); float4 g=float4(h); half2 q=h.xy;
    }
    {
        float4 v=0; v+=1; int3 ii=1; ii++; --ii; v.x++; v.xy+=1; v.xyz*=float3(1); v.zw=v.xy; v.xy=v.yx; int4 i=1;
        i%=3; i<<=1; i>>=1; i.xy<<=1; i.xy%=2;
    }
    {
        float4 v={1,2,3,4}; float3 w={v.xy,1}; float4 u(v.xyz,1); float2 z=float2(1,2); float4 q=float4(z,z);
        float4 r=float4(1,z,1);
    }
    {
        float4 v=float4(int4(1)); int4 i=int4(v); half4 h=half4(v); bfloat4 b=bfloat4(v); float4 f=float4(b);
        bool4 k=bool4(i);
    }
    {
        half h=1; half k=h*h+h; float f=h*2.0f; h+=1.0f; bool c=h>k; half m=c?h:half(0); half n=max(h,k); h=f;
    }
    {
        bfloat b=1; bfloat k=b*b+b; float f=b*2.0f; f+=b; f=f-b; uint u=b; bool c=b>k; bfloat m=c?b:0;
        float n=c?b:1.0f; bfloat o=max(b,k); b+=b; b=bfloat(f); int i=int(b); if(b){} b=-b;
        ushort us=as_type<ushort>(b);
    }
    {
        bfloat b=1; half h=half(b); b=bfloat(h); float f=b*h; bool q=b==1; q=b<0.5f; q=!b; q=b&&q;
        uint8_t z=uint8_t(b); float g=fma(b,b,b); float t=exp(b)+metal::precise::exp(1.0f)+metal::fast::exp(1.0f);
    }
    {
        uint4 u=as_type<uint4>(float4(1)); float4 f=as_type<float4>(u); half2 h=as_type<half2>(1u);
        uint k=as_type<uint>(h); ushort2 s=as_type<ushort2>(1.0f); uchar4 c=as_type<uchar4>(k);
    }
    {
        float4x4 m=float4x4(1.0f); float4 v=m*float4(1); m=m*m; m=transpose(m); float x=m[0][1]; x=determinant(m);
        m+=m; m*=2.0f; m=-m; float3x3 n=float3x3(float3(1),float3(2),float3(3)); float4 c=m[0]; m[0]=c; bool b=true;
    }
    {
        float x=FLT_MAX+FLT_MIN+HALF_MAX+INT_MAX+M_PI_F+float(M_PI_H)+UINT_MAX+CHAR_BIT+SHRT_MAX+LONG_MAX
        +float(HUGE_VALF)+FLT_EPSILON+float(M_SQRT1_2_H); float y=NAN+INFINITY+MAXFLOAT+float(MAXHALF);
    }
    {
        simd_vote v=simd_active_threads_mask();
        bool b=simd_all(true)||simd_any(false)||simd_is_first()||simd_is_helper_thread();
        simd_vote w=simd_ballot(true); bool a=w.all()||w.any(); ulong m=(ulong)(simd_vote::vote_t)w;
    }
    {
        float f=simd_broadcast(1.0f,0)+simd_broadcast_first(1.0f)+simd_shuffle_rotate_up(1.0f,1)
        +simd_prefix_inclusive_sum(1.0f)+quad_sum(1.0f)+quad_broadcast(1.0f,1)+quad_shuffle_xor(1.0f,1)
        +quad_broadcast_first(1.0f); bool b=quad_all(true)||quad_any(true)||quad_is_first();
        quad_vote q=quad_ballot(true);
    }
    {
        half h=simd_sum(half(1))+simd_max(half(1)); bfloat b=simd_sum(bfloat(1));
        ulong u=simd_shuffle_down(ulong(1),1); uint w=simd_and(1u)|simd_or(1u)|simd_xor(1u);
        half4 r=simd_sum(half4(1)); bool s=simd_shuffle(true,1); char ch=simd_sum(char(1));
    }
    {
        atomic_uint a; atomic_store_explicit(&a,1u,memory_order_relaxed);
        uint o=atomic_fetch_add_explicit(&a,1,memory_order_relaxed); uint e=0;
        bool k=atomic_compare_exchange_weak_explicit(&a,&e,1u,memory_order_relaxed,memory_order_relaxed);
        atomic_fetch_max_explicit(&a,3u,memory_order_relaxed); uint z=atomic_load_explicit(&a,memory_order_relaxed);
    }
    {
        atomic<float> a; float o=atomic_fetch_add_explicit(&a,1.0f,memory_order_relaxed); atomic_int i;
        atomic_fetch_min_explicit(&i,-1,memory_order_relaxed);
        atomic_thread_fence(mem_flags::mem_device,memory_order_seq_cst,thread_scope_device);
    }
    {
        atomic_ulong a; atomic_max_explicit(&a,ulong(1),memory_order_relaxed); atomic_bool b;
        bool x=atomic_exchange_explicit(&b,true,memory_order_relaxed);
    }
    {
        simdgroup_float8x8 a,b,c(0); float m[64]; simdgroup_load(a,m); simdgroup_load(b,m,8,ulong2(0,0),true);
        simdgroup_multiply_accumulate(c,a,b,c); simdgroup_multiply(c,a,b); simdgroup_store(c,m,8);
        auto d=make_filled_simdgroup_matrix<float,8,8>(0.f); auto f=make_filled_simdgroup_matrix<half,8>(half(1));
        float2& e=c.thread_elements(); c.thread_elements()[0]=1;
    }
    {
        simdgroup_matrix<half,8,8> a; simdgroup_bfloat8x8 b; const half m[64]={}; simdgroup_load(a,m,8);
        simdgroup_matrix<float,8,8> c=make_diagonal_simdgroup_matrix<float,8,8>(1.f);
        simdgroup_multiply_accumulate(c,a,a,c);
    }
    {
        float x=sincos(1.0f,*new float)+frexp(1.0f,*new int)+modf(1.5f,*new float)+ldexp(1.0f,2)+ilogb(2.0f)
        +fma(1.0f,2.0f,3.0f)+mix(0.f,1.f,.5f)+smoothstep(0.f,1.f,.5f)+step(.5f,1.f)+sign(-1.f)+clamp(2.f,0.f,1.f)
        +saturate(2.f)+fract(1.5f)+rsqrt(2.f)+powr(2.f,3.f)+fmod(5.f,3.f)+atan2(1.f,2.f)+exp10(1.f)+sinpi(1.f)
        +divide(1.f,2.f)+median3(1.f,2.f,3.f)+nextafter(1.f,2.f)+fdim(2.f,1.f);
    }
    {
        float4 c; float4 s=sincos(float4(1),c); int4 e; float4 m=frexp(float4(3),e); m=ldexp(m,e); m=modf(m,c);
        m=mix(m,c,.5f); m=clamp(m,0.f,1.f); m=smoothstep(0.f,1.f,m); m=pow(m,float4(2)); m=fma(m,m,c); m=min(m.xxxx,c);
        m=max(m,0.0f); m=step(.5f,m); m=powr(m,m); m=fmin3(m,m,c); m=sign(m); m=clamp(m.xyzw,m,c);
    }
    {
        int i=clz(1)+ctz(2)+popcount(3)+reverse_bits(1)+rotate(1,2)+mulhi(1,2)+absdiff(1,2)+addsat(1,2)+subsat(1,2)
        +hadd(1,2)+rhadd(1,2)+mul24(1,2)+mad24(1,2,3)+madhi(1,2,3)+madsat(1,2,3)+extract_bits(7,1,2)
        +insert_bits(0,3,1,2)+abs(-1)+min(1,2)+max(1,2)+clamp(1,2,3)+min3(1,2,3)+max3(1,2,3)+median3(1,2,3);
        uint4 u=rotate(uint4(1),uint4(2)); u=popcount(u); u=extract_bits(u,1u,2u); u=clz(u);
        uchar4 q=addsat(uchar4(1),uchar4(2));
    }
    {
        metal::array<float,4> a={1,2,3,4}; float x=a[0]; constexpr auto m=metal::numeric_limits<half>::max();
        constexpr float f=metal::numeric_limits<float>::infinity(); constexpr int i=numeric_limits<int>::max();
        static_assert(is_same_v<float,float>); static_assert(is_same_v<enable_if_t<true,int>,int>);
        static_assert(is_floating_point_v<half>);
    }
    {
        constexpr half h=half(1.5f); constexpr bfloat b=bfloat(1.5f); static_assert(h==half(1.5f)&&float(b)==1.5f);
        constexpr float4 v=float4(1,2,3,4); static_assert(v.d[1]==2);
    }
    {
        float4 v=float4(1);
        bool b=isnan(v.x)||isinf(v.x)||isfinite(v.x)||isnormal(v.x)||signbit(v.x)||isordered(v.x,v.y)||isunordered(v.x,v.y);
        bool4 c=isnan(v); c=not(c); c=!c; c=c&&c;
    }
    {
        float3 i=float3(1),n=float3(0,1,0); float3 r=reflect(i,n); r=refract(i,n,1.5f); r=faceforward(n,i,n);
        r=fast::normalize(i); float d=fast::length(i)+precise::distance(i,n); r=n*2+1-i/2; r=2*n; r=-n;
    }
    {
        uint p=pack_float_to_unorm4x8(float4(0)); float4 u=unpack_unorm4x8_to_float(p);
        p=pack_float_to_snorm2x16(float2(0)); half4 h=unpack_snorm4x8_to_half(p); p=pack_half_to_unorm2x16(half2(0));
    }
    {
        const os_log l("a","b"); l.log("x %d",1); l.log_error("%f",half(1)); os_log_default.log("hi %f",1.0f);
    }
    {
        uint2 a=uint2(1,2); uint2 b=a/2u+a%2u; b=a&1u; b=a<<1u; b=~a; bool2 c=a==b; b=uint2(c); ulong2 l=ulong2(a);
        b.x|=1; b|=1; short2 s=short2(a); s=-s; char4 q=char4(1); q+=q; uchar2 uc=uchar2(a);
        float2 f=float2(uc)/255.0f;
    }
    {
        thread_scope t=thread_scope_simdgroup; simdgroup_barrier(mem_flags::mem_none);
        threadgroup_barrier(mem_flags::mem_threadgroup|mem_flags::mem_device);
    }
    {
        float v=max(1.0f,min(2.0f,half(1))); int i=min(1,short(2)); half h=max(half(1),half(2));
        bfloat b=min(bfloat(1),bfloat(2)); half4 k=max(half4(1),half4(2)); float4 q=fmax(float4(1),float4(2));
        bfloat4 w=exp(bfloat4(1))+bfloat4(1)*bfloat(2);
    }
"""

REFUSED = [
    "float4 v=int4(1);",
    "float2 a=float3(1);",
    "float4 v=float4(1); v.xx=float2(1);",
    "float4 a=float4(1)+float3(1);",
    "float4 a=float4(1)+int4(1);",
    "float4 v=float4(1); float x=v.q;",
    "float2 v=float2(1); float x=v.z;",
    "simdgroup_matrix<float,16,16> m;",
    "simdgroup_matrix<int,8,8> m;",
    "simdgroup_float8x8 a; half m[64]; simdgroup_load(a,m);",
    "simdgroup_float8x8 a; const float m[64]={}; simdgroup_store(a,m);",
    "atomic<half> a;",
    "atomic_ulong a; atomic_fetch_add_explicit(&a,ulong(1),memory_order_relaxed);",
    "atomic_float a; atomic_fetch_and_explicit(&a,1.0f,memory_order_relaxed);",
    "float x=simd_xor(1.0f);",
    "float x=popcount(1.0f);",
    "float x=as_type<float>(half(1));",
    "bfloat b=1.5f;",
    "float x=erf(1.0f);",
    "float x=lgamma(1.0f);",
    "texture2d<float> t;",
    "float x=metal::fast::clz(1);",
    "float4 a=float4(1,2,3);",
    "float4 a={1,2,3};",
    "half h=bfloat(1);",
    "bfloat b=half(1);",
    "int3 a=int3(1); a.w=1;",
    "uint x=1; atomic_fetch_add_explicit(&x,1u,memory_order_relaxed);",
    "float4 v=float4(1); if(v==v){}",
    "bool b=all(float4(1));",
    "float x=dot(float2(1),float3(1));",
    "double d=sin(1.0);",
]


def compiled(compiler: str, body: str, folder: Path, options: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    source = folder / "text.cpp"
    source.write_text(f'#include "zm/msl.h"\nusing namespace metal;\nvoid function() {{\n#line 1 "msl"\n{body}\n}}\n')
    folders = [f"-I{SIMULATOR / name}" for name in ("include", "runtime")]
    fixed = ["-std=c++20", "-fsyntax-only", "-w", "-Wno-narrowing", "-fsigned-char"]
    return subprocess.run([compiler, *fixed, *options, *folders, str(source)], capture_output=True, text=True)


@pytest.mark.parametrize("options", [[], ["-fsanitize=thread"]], ids=["plain", "sanitised"])
@pytest.mark.parametrize("compiler", COMPILERS)
def test_msl_compiles(compiler: str, options: list[str], tmp_path: Path) -> None:
    done = compiled(compiler, TAKEN, tmp_path, options)
    assert done.returncode == 0, done.stderr[:3000]


@pytest.mark.parametrize("compiler", COMPILERS)
def test_what_is_not_msl_does_not_compile(compiler: str, tmp_path: Path) -> None:
    limit = "-fmax-errors=0" if compiler == "g++" else "-ferror-limit=0"
    done = compiled(compiler, "\n".join(f"{{ {body} }}" for body in REFUSED), tmp_path, [limit])
    faulty = {int(line) for line in re.findall(r"\bmsl:(\d+)", done.stderr)}
    assert [body for i, body in enumerate(REFUSED, start=1) if i not in faulty] == []


@pytest.mark.parametrize("compiler", COMPILERS)
def test_a_line_that_is_msl_is_not_counted_as_refused(compiler: str, tmp_path: Path) -> None:
    done = compiled(compiler, "{ int a = float4(1); }\n{ float4 v = 1; v.xy = v.zw; }\n{ int3 b = float2(1); }", tmp_path)
    assert {int(line) for line in re.findall(r"\bmsl:(\d+)", done.stderr)} == {1, 3}


@pytest.mark.parametrize("compiler", COMPILERS)
def test_an_element_written_twice_is_refused_in_words(compiler: str, tmp_path: Path) -> None:
    done = compiled(compiler, "float4 v = float4(1); v.xx = float2(1);", tmp_path)
    assert "a swizzle that is written names each element once" in done.stderr
