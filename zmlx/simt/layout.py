"""Linear layouts: which thread holds which element of a tile, in which register.

A layout maps (register, lane, warp) to tile coordinates, linearly over bits: each bit of each input contributes a basis
vector of coordinates, and the coordinates are the XOR of the vectors of the bits that are set. A zero vector means that
the bit does not matter: the element is held again (broadcast). Blocked, sliced, transposed and reshaped layouts are all
of this form, and a view of a tile (`trans`, `reshape`, `broadcast` …) is a linear map that is applied to the vectors.

(The idea: Zhou et al., "Linear Layouts: Robust Code Generation of Efficient Tensor Computation Using F2", 2025.)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache

Coords = tuple[int, ...]


@dataclass(frozen=True)
class Layout:
    """`reg`, `lane` and `warp` hold one basis vector a bit, least significant first; `flip` is XORed to the result."""

    shape: Coords
    reg: tuple[Coords, ...]
    lane: tuple[Coords, ...]
    warp: tuple[Coords, ...]
    flip: Coords = ()

    def __post_init__(self) -> None:
        if not self.flip:
            object.__setattr__(self, "flip", (0,) * len(self.shape))
        # Layouts key every memo of the lowering: hash the nested tuples once.
        object.__setattr__(self, "_hash", hash((self.shape, self.reg, self.lane, self.warp, self.flip)))

    def __hash__(self) -> int:
        return self._hash  # type: ignore[attr-defined]

    @cached_property
    def registers(self) -> int:
        """Elements that one thread holds."""
        return 1 << len(self.reg)

    @cached_property
    def moving(self) -> frozenset[int]:
        """Register bits on which the coordinates depend."""
        return frozenset(i for i, basis in enumerate(self.reg) if any(basis))

    @cached_property
    def replicated(self) -> bool:
        """Whether several threads hold the same element."""
        return any(not any(b) for b in (*self.lane, *self.warp))

    def map(self, shape: Coords, f: Callable[[Coords], Coords], flip: Coords | None = None) -> Layout:
        """The layout whose basis vectors are the images under a linear map."""
        return Layout(
            shape,
            tuple(map(f, self.reg)),
            tuple(map(f, self.lane)),
            tuple(map(f, self.warp)),
            flip if flip is not None else f(self.flip),
        )

    def at(self, register: int, lane: int, warp: int) -> Coords:
        """The coordinates of one register of one thread."""
        out = list(self.flip)
        for index, bases in ((register, self.reg), (lane, self.lane), (warp, self.warp)):
            for bit, basis in enumerate(bases):
                if index >> bit & 1:
                    out = [a ^ b for a, b in zip(out, basis, strict=True)]
        return tuple(out)

    @cached_property
    def runs(self) -> tuple[tuple[int, ...], ...]:
        """Register bits grouped, outermost first, into runs that walk one dimension with one stride."""
        groups: list[list[int]] = []
        for bit, basis in enumerate(self.reg):
            if groups:
                previous = self.reg[groups[-1][-1]]
                if any(basis) and tuple(2 * c for c in previous) == basis:
                    groups[-1].append(bit)
                    continue
            groups.append([bit])
        return tuple(tuple(g) for g in reversed(groups))

    def slice(self, axis: int) -> Layout:
        """The layout of the tile without one dimension: bits that walked it matter no more; its registers vanish."""
        keep = tuple(i for i in range(len(self.shape)) if i != axis)

        def f(c: Coords) -> Coords:
            return tuple(c[i] for i in keep)

        sliced = self.map(f(self.shape), f)
        return Layout(sliced.shape, tuple(b for b in sliced.reg if any(b)), sliced.lane, sliced.warp, sliced.flip)


def flat(coords: Coords, shape: Coords) -> int:
    """The row-major index of coordinates; linear over bits, since dimensions are powers of two."""
    index = 0
    for c, n in zip(coords, shape, strict=True):
        index = index * n + c
    return index


@lru_cache(maxsize=1 << 12)
def register_map(home: Layout, wanted: Layout) -> tuple[tuple[int, ...], int] | None:
    """How to find the registers of `wanted` in those of `home`, in the same thread.

    Returns the home register index that each register bit of `wanted` contributes (XOR), and a constant to XOR; or None
    when some element lies in another thread.
    """
    if home.lane != wanted.lane or home.warp != wanted.warp:
        return None
    solve = _solver(tuple(flat(b, home.shape) for b in home.reg))
    out = []
    for basis in wanted.reg:
        index = solve(flat(basis, wanted.shape))
        if index is None:
            return None
        out.append(index)
    constant = solve(flat(tuple(a ^ b for a, b in zip(home.flip, wanted.flip, strict=True)), home.shape))
    return None if constant is None else (tuple(out), constant)


@lru_cache(maxsize=1024)
def _solver(vectors: tuple[int, ...]) -> Callable[[int], int | None]:
    """Gaussian elimination over GF(2): writes a number as the XOR of some of the vectors (a bit mask of which)."""
    pivots: dict[int, tuple[int, int]] = {}
    for i, v in enumerate(vectors):
        mask = 1 << i
        while v:
            top = v.bit_length() - 1
            if top not in pivots:
                pivots[top] = (v, mask)
                break
            v ^= pivots[top][0]
            mask ^= pivots[top][1]

    def solve(target: int) -> int | None:
        mask = 0
        while target:
            top = target.bit_length() - 1
            if top not in pivots:
                return None
            target ^= pivots[top][0]
            mask ^= pivots[top][1]
        return mask

    return solve


def blocked(shape: Coords, vector: Coords, lanes: Coords, lane_bits: int, warp_bits: int) -> Layout:
    """A tile spread over threads, fastest dimension last.

    vector: elements that a thread holds side by side in each dimension; lanes: the most lanes along each dimension.
    What remains of the tile becomes further registers; what remains of the threads holds elements again.
    """
    rank = len(shape)
    left = [n.bit_length() - 1 for n in shape]  # bits of each dimension not yet handed out
    used = [0] * rank

    def take(dim: int) -> Coords:
        basis = tuple((1 << used[dim]) if d == dim else 0 for d in range(rank))
        used[dim] += 1
        left[dim] -= 1
        return basis

    reg = [take(d) for d in reversed(range(rank)) for _ in range(min(left[d], vector[d].bit_length() - 1))]
    lane: list[Coords] = []
    for d in reversed(range(rank)):
        room = min(left[d], lanes[d].bit_length() - 1)
        lane += [take(d) for _ in range(min(room, lane_bits - len(lane)))]
    for d in reversed(range(rank)):  # lanes that the wish left over
        lane += [take(d) for _ in range(min(left[d], lane_bits - len(lane)))]
    zero = (0,) * rank
    lane += [zero] * (lane_bits - len(lane))
    warp: list[Coords] = []
    # A limited number of lanes along the last dimension means rows are to stay within a warp: warps go along rows first.
    for d in range(rank) if lanes[-1] < 1 << lane_bits else reversed(range(rank)):
        warp += [take(d) for _ in range(min(left[d], warp_bits - len(warp)))]
    warp += [zero] * (warp_bits - len(warp))
    reg += [take(d) for d in reversed(range(rank)) for _ in range(left[d])]
    return Layout(shape, tuple(reg), tuple(lane), tuple(warp))


def row_major(shape: Coords) -> Layout:
    """One thread holds the whole tile."""
    return blocked(shape, (1,) * len(shape), (1,) * len(shape), 0, 0)
