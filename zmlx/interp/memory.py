"""The interpreter's device memory: NumPy buffers behind 64-bit addresses."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from zmlx import dtypes as dt
from zmlx.dtypes import DType

SHIFT = 44  # an address is (buffer number << SHIFT) + byte offset; numbers start at 1
HALF = np.int64(1 << (SHIFT - 1))


class AccessFault(Exception):
    """An access that touches no element of a buffer; the interpreter adds the place."""


class Memory:
    """Named flat buffers. Addresses can be compared, selected, carried and cast to integers."""

    def __init__(self, arrays: Mapping[str, np.ndarray]) -> None:
        self.names = list(arrays)
        self.bytes = [np.asarray(a).reshape(-1).view(np.uint8) for a in arrays.values()]
        self.base = {name: np.array((i + 1) << SHIFT, np.int64) for i, name in enumerate(self.names)}

    def elements(self, address: np.ndarray, elem: DType) -> Iterator[tuple[np.ndarray, np.ndarray | slice, np.ndarray]]:
        """For each buffer that flat addresses touch: its elements, which of the addresses, and their indices.

        Raises AccessFault where an address lies outside of every buffer.
        """
        number = (address + HALF) >> SHIFT  # a small negative offset still names its own buffer
        first = int(number[0]) if number.size else 0
        groups = [first] if number.size and (number == first).all() else np.unique(number).tolist()
        for n in groups:
            chosen = slice(None) if len(groups) == 1 else np.flatnonzero(number == n)
            offset = address[chosen] - (np.int64(n) << np.int64(SHIFT))
            if not 1 <= n <= len(self.names):
                raise AccessFault(f"through address {int(offset[0]):#x}, which points into no array")
            data, name, size = self.bytes[n - 1], self.names[n - 1], elem.itemsize
            index, rest = offset // size, offset % size
            count = len(data) // size
            bad = np.flatnonzero((index < 0) | (index >= count))
            if bad.size:
                k = "" if bad.size == 1 else f" (and {bad.size - 1} more)"
                raise AccessFault(f"at index {int(index[bad[0]])}{k} of `{name}`, which has {count} element{'s' * (count != 1)} of {elem}")
            if rest.any():
                at = int(offset[np.flatnonzero(rest)[0]])
                raise AccessFault(f"at byte {at} of `{name}`, which is not aligned for {elem}")
            yield data[: count * size].view(elem.storage), chosen, index

    def load(self, address: np.ndarray, elem: DType, mask: np.ndarray | None, other: np.ndarray | None) -> np.ndarray:
        out = np.zeros(address.shape, elem.compute) if other is None else np.array(np.broadcast_to(other, address.shape))
        flat, active = out.reshape(-1), _active(address, mask)
        for data, chosen, index in self.elements(address.reshape(-1)[active], elem):
            flat[active[chosen]] = dt.decode(data[index], elem)
        return flat.reshape(address.shape)

    def store(self, address: np.ndarray, elem: DType, value: np.ndarray, mask: np.ndarray | None) -> None:
        active = _active(address, mask)
        bits = dt.encode(np.ascontiguousarray(value).reshape(-1)[active], elem)
        for data, chosen, index in self.elements(address.reshape(-1)[active], elem):
            data[index] = bits[chosen]

    def update(
        self, address: np.ndarray, elem: DType, mask: np.ndarray | None, step: Callable[[np.ndarray, int], np.ndarray]
    ) -> np.ndarray:
        """Replaces elements one after the other by step(old value, flat position); gives the old values, 0 where masked off."""
        out = np.zeros(address.size, elem.compute)
        flat = address.reshape(-1)
        for i in _active(address, mask):
            for data, _, index in self.elements(flat[i : i + 1], elem):
                out[i : i + 1] = old = dt.decode(data[index], elem)
                data[index] = dt.encode(step(old, int(i)), elem)
        return out.reshape(address.shape)


def _active(address: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    return np.arange(address.size) if mask is None else np.flatnonzero(np.broadcast_to(mask, address.shape).reshape(-1))
