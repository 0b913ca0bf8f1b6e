"""Element types of tiles: widths, NumPy counterparts, promotion facts.

A `DType` is what `tl.float32` is in a kernel. bfloat16 has no NumPy type: it is *stored* as uint16 and *computed* as
float32 rounded to the nearest bfloat16 (ties to even), which is also what every target does.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True, slots=True, eq=False)
class DType:
    """One element type. Instances are singletons: compare them with `is` or `==`."""

    name: str  # the public name, e.g. "float32"
    short: str  # the name in IR text, e.g. "f32"
    kind: str  # "bool" | "int" | "uint" | "float"
    bits: int
    storage: np.dtype  # how a buffer of it lies in memory
    compute: np.dtype  # how the NumPy interpreter holds its values

    is_float: bool = field(init=False)
    is_int: bool = field(init=False)  # every integer, the one-bit int1 included
    is_signed: bool = field(init=False)  # of integers
    is_bool: bool = field(init=False)
    is_half: bool = field(init=False)

    def __post_init__(self) -> None:
        is_float = self.kind == "float"
        facts = {"is_float": is_float, "is_int": not is_float, "is_signed": self.kind == "int", "is_bool": self.kind == "bool"}
        for name, value in (facts | {"is_half": is_float and self.bits == 16}).items():
            object.__setattr__(self, name, value)

    @property
    def itemsize(self) -> int:
        """Bytes of one element in memory (int1 takes a byte)."""
        return max(1, self.bits // 8)

    @property
    def primitive_bitwidth(self) -> int:
        return self.bits

    def range(self) -> tuple[int, int]:
        """Smallest and largest value of an integer type."""
        if self.is_signed:
            return -(1 << (self.bits - 1)), (1 << (self.bits - 1)) - 1
        return 0, (1 << self.bits) - 1

    def __repr__(self) -> str:
        return self.name

    def __reduce__(self) -> str:
        return self.name


def _make(name: str, short: str, kind: str, bits: int, storage: str, compute: str | None = None) -> DType:
    return DType(name, short, kind, bits, np.dtype(storage), np.dtype(compute or storage))


int1 = _make("int1", "i1", "bool", 1, "bool")
int8 = _make("int8", "i8", "int", 8, "int8")
int16 = _make("int16", "i16", "int", 16, "int16")
int32 = _make("int32", "i32", "int", 32, "int32")
int64 = _make("int64", "i64", "int", 64, "int64")
uint8 = _make("uint8", "u8", "uint", 8, "uint8")
uint16 = _make("uint16", "u16", "uint", 16, "uint16")
uint32 = _make("uint32", "u32", "uint", 32, "uint32")
uint64 = _make("uint64", "u64", "uint", 64, "uint64")
float16 = _make("float16", "f16", "float", 16, "float16")
bfloat16 = _make("bfloat16", "bf16", "float", 16, "uint16", "float32")
float32 = _make("float32", "f32", "float", 32, "float32")
float64 = _make("float64", "f64", "float", 64, "float64")

ALL = (int1, int8, int16, int32, int64, uint8, uint16, uint32, uint64, float16, bfloat16, float32, float64)
BY_SHORT = {d.short: d for d in ALL}
BY_NAME = {d.name: d for d in ALL} | {"bool": int1, "bool_": int1}
FLOATS = (float16, bfloat16, float32, float64)
INTS = (int8, int16, int32, int64, uint8, uint16, uint32, uint64)


def round_bf16(x: np.ndarray) -> np.ndarray:
    """float32 values rounded to the nearest bfloat16 (ties to even), still held as float32."""
    return bf16_from_bits(bf16_to_bits(x))


def bf16_to_bits(x: np.ndarray) -> np.ndarray:
    """The uint16 patterns of float32 values rounded to bfloat16, ties to even; every NaN stays a NaN."""
    bits = np.asarray(x, np.float32).view(np.uint32)
    rounded = ((bits.astype(np.uint64) + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    return np.where(np.isnan(x), ((bits >> 16) | 0x40).astype(np.uint16), rounded)


def bf16_from_bits(bits: np.ndarray) -> np.ndarray:
    """float32 values of bfloat16 patterns."""
    return (np.asarray(bits, np.uint16).astype(np.uint32) << 16).view(np.float32)


def decode(storage: np.ndarray, dtype: DType) -> np.ndarray:
    """Values as the interpreter computes with them, from a buffer's elements."""
    return bf16_from_bits(storage) if dtype is bfloat16 else storage.astype(dtype.compute, copy=False)


def encode(values: np.ndarray, dtype: DType) -> np.ndarray:
    """A buffer's elements, from the interpreter's values."""
    return bf16_to_bits(values) if dtype is bfloat16 else np.asarray(values).astype(dtype.storage, copy=False)
