"""Where to cut a traced program into pipeline stages so that the slowest stage is as fast as can be."""

from __future__ import annotations

import math
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from alkaid.types import CombLogic, Op

# Typical delays in ns with the net before, as axo.firmware.tools.depth finds them in mapped netlists: a
# LUT, a wide multiplexer beside it, an adder (a LUT and the carry chain), four bits of its chain.
LUT_NS, MUX_NS, ADDER_NS, CARRY4_NS = 0.38, 0.1, 0.65, 0.01

# In front of the words (finding absent objects) and behind the score (comparing with a threshold).
UNPACK_NS, COMPARE_NS = 0.8, 0.8


class Opcode(IntEnum):
    """The operations of alkaid's programs (its docs/alir.md) that take time, and NOT."""

    NEGATE = -2
    ADD = 0
    SUBTRACT = 1
    ADD_CONSTANT = 4
    MUX = 6
    MULTIPLY = 7
    TABLE = 8
    UNARY = 9
    BINARY = 10
    SUM = 11


_NOT = 0  # of UNARY: absorbed by whatever reads it

_SEARCH_STEPS = 40


def cut_evenly(program: CombLogic, stages: int, *, with_trigger: bool) -> CombLogic:
    """`program` with latencies from which alkaid's to_pipeline makes `stages` stages of like delay.

    `with_trigger`: the first stage has the unpacking in front, the last the comparison behind.
    """
    before, behind = (UNPACK_NS, COMPARE_NS) if with_trigger else (0.0, 0.0)
    delays = [_delay_ns(op, program) for op in program.ops]
    low, high = max(delays), before + sum(delays) + behind
    for _ in range(_SEARCH_STEPS):
        middle = (low + high) / 2
        if max(_stages(program, delays, middle, before, behind)) < stages:
            high = middle
        else:
            low = middle
    cut = _stages(program, delays, high, before, behind)
    # to_pipeline cuts where latencies pass whole numbers, up to that of the output.
    for index in program.out_idxs:
        cut[index] = stages - 1
    ops = [op._replace(latency=float(stage + 1)) for op, stage in zip(program.ops, cut, strict=True)]
    return program._replace(ops=ops)


def _stages(
    program: CombLogic, delays: list[float], period: float, before: float, behind: float
) -> list[int]:
    """The stage of every operation, each as early as `period` allows."""
    stages: list[int] = []
    ready: list[float] = []
    outputs = set(program.out_idxs)
    for index, op in enumerate(program.ops):
        stage = max((stages[source] for source in op.addr), default=0)
        start = max((ready[source] for source in op.addr if stages[source] == stage), default=0.0)
        start = start if op.addr else before
        if start + delays[index] + (behind if index in outputs else 0.0) > period and start > 0 and op.addr:
            stage, start = stage + 1, 0.0
        stages.append(stage)
        ready.append(start + delays[index])
    return stages


def _delay_ns(op: Op, program: CombLogic) -> float:
    """Delay from the last operand to the result; 0 for what is only wires or absorbed by a LUT."""
    inputs: list[int] = [sum(program.ops[source].qint.kif) for source in op.addr]
    adder: float = ADDER_NS + CARRY4_NS * sum(op.qint.kif) / 4
    match op.opcode:
        case Opcode.ADD | Opcode.SUBTRACT | Opcode.ADD_CONSTANT:
            return adder
        case Opcode.NEGATE:
            return adder if inputs[0] > 1 else 0.0
        case Opcode.SUM:
            return LUT_NS + adder
        case Opcode.MUX | Opcode.BINARY:
            return LUT_NS
        case Opcode.UNARY:
            return 0.0 if op.data[0] == _NOT else LUT_NS * math.ceil(math.log(max(inputs[0], 2), 6))
        case Opcode.TABLE:
            return LUT_NS + MUX_NS * max(inputs[0] - 6, 0)
        case Opcode.MULTIPLY:
            return adder * math.ceil(math.log2(max(min(inputs), 2)) + 1)
    return 0.0
