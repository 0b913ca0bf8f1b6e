"""The rules of races against a plain model of them: random programs of accesses and barriers, all pairs compared."""

from __future__ import annotations

import random
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parent / "runtime_kernels"))
from runtime_harness import U8, U32, kinds, launch

READ, WRITE, ATOMIC_READ, ATOMIC_WRITE, BARRIER, SIMD_BARRIER = 1, 2, 3, 4, 5, 6
DEVICE = 8  # added to an access of device memory
FLAGS = {False: 2, True: 1}  # of the barrier that orders threadgroup, device memory


@dataclass(frozen=True)
class Access:
    what: int
    who: int  # thread + 64 · threadgroup
    where: int
    bytes: int
    device: bool

    @property
    def row(self) -> list[int]:
        return [self.what + DEVICE * self.device, self.who, self.where, self.bytes]

    def conflicts(self, other: Access) -> bool:
        apart = self.where + self.bytes <= other.where or other.where + other.bytes <= self.where
        reads = self.what in (READ, ATOMIC_READ) and other.what in (READ, ATOMIC_READ)
        atomics = self.what in (ATOMIC_READ, ATOMIC_WRITE) and other.what in (ATOMIC_READ, ATOMIC_WRITE)
        elsewhere = self.device != other.device or (not self.device and self.who // 64 != other.who // 64)
        return not (apart or reads or atomics or elsewhere or self.who == other.who)


Step = Access | tuple[int, int]  # or a barrier and its flags


def races(program: list[Step]) -> set[str]:
    """The kinds of the races: pairs that conflict, with no barrier between that orders them."""
    found = set()
    for i, a in enumerate(program):
        for j in range(i + 1, len(program)):
            b = program[j]
            if not isinstance(a, Access) or not isinstance(b, Access) or not a.conflicts(b):
                continue
            between = [s for s in program[i + 1 : j] if not isinstance(s, Access)]
            same_simdgroup = a.who // 32 == b.who // 32
            ordered = a.who // 64 == b.who // 64 and any(
                flags & FLAGS[a.device] and (kind == BARRIER or same_simdgroup) for kind, flags in between
            )
            if not ordered:
                found.add("device-race" if a.device else "race")
    return found


def mixed(program: list[Step]) -> bool:
    """Whether a thread's atomics follow its own plain accesses: an atomic hides what its thread did before."""
    plain = set()
    for step in program:
        if isinstance(step, Access) and step.what in (READ, WRITE):
            plain.add((step.who, step.device))
        elif isinstance(step, Access) and (step.who, step.device) in plain:
            return True
    return False


def random_program(r: random.Random, groups: int) -> list[Step]:
    whats = r.choice(
        [(READ, WRITE), (READ, READ, READ, WRITE), (READ, WRITE, ATOMIC_READ, ATOMIC_WRITE), (ATOMIC_WRITE, ATOMIC_READ, READ)]
    )
    threads = r.sample(range(64), r.randint(2, 4))
    sizes = r.choice([(4,), (4, 4, 2), (1, 2, 4, 8)])
    spaces = r.choice([(False,), (True,), (False, True)])
    program: list[Step] = []
    for _ in range(r.randint(2, 10)):
        if r.random() < 0.4:
            program.append((r.choice([BARRIER, BARRIER, SIMD_BARRIER]), r.choice([0, 1, 2, 2, 3])))
        else:
            size, what = r.choice(sizes), r.choice(whats)
            if what in (ATOMIC_READ, ATOMIC_WRITE):
                size = 4
            where = r.randrange(0, 16, 16 if r.random() < 0.7 else size)
            program.append(Access(what, r.choice(threads) + 64 * r.randrange(groups), where, size, r.choice(spaces)))
    return program


def found(program: list[Step], groups: int) -> list[str]:
    rows = [s.row if isinstance(s, Access) else [*s, 0, 0] for s in program]
    text = np.array([*rows, [0, 0, 0, 0]], U32)
    return kinds(launch("machine", text, out_dtype=U8, out=32, threads=64 * groups, initial=np.zeros(32, U8)))


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("groups", [1, 2])
def test_random_programs(groups: int, seed: int) -> None:
    r = random.Random(f"{seed} {groups}")
    outcomes = set()
    for _ in range(60):
        program = random_program(r, groups)
        expected = races(program)
        reported = set(found(program, groups))
        assert reported <= expected, program
        assert reported == expected or mixed(program), program
        outcomes.add(frozenset(expected))
    assert len(outcomes) > 1  # programs of both sorts were tried


def test_a_barrier_ends_the_readers_that_came_before() -> None:
    """The last of many readers reads once more after a barrier, and writes: the others' reads are over."""
    reads: list[Step] = [Access(READ, who, 0, 4, False) for who in (3, 40, 41)]
    program = [*reads, (BARRIER, 2), Access(READ, 41, 0, 4, False), Access(WRITE, 41, 0, 4, False)]
    assert found(program, 1) == []
    assert found([*program[:3], *program[4:]], 1) == ["race"]
