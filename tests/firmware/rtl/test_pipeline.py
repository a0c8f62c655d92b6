"""The cut into stages: in order, as many as asked, and of like delay."""

from collections import defaultdict

import pytest

from axo.firmware.rtl import pipeline as rtl_pipeline
from axo.firmware.rtl.pipeline import COMPARE_NS, UNPACK_NS, cut_evenly
from axo.firmware.rtl.trace import trace_network
from tests.firmware.rtl_networks import trigger_network


@pytest.fixture(scope="module")
def program():
    return trace_network(trigger_network(n_hidden=8))


def slowest_ns(program, with_trigger):
    """Longest path within a stage, from the stages in the latencies and the model's own delays."""
    ready, slowest = [], defaultdict(float)
    for index, op in enumerate(program.ops):
        inside = [ready[source] for source in op.addr if program.ops[source].latency == op.latency]
        start = max(inside, default=0.0 if op.addr else with_trigger * UNPACK_NS)
        ready.append(start + rtl_pipeline._delay_ns(op, program))
        behind = with_trigger * COMPARE_NS if index in program.out_idxs else 0.0
        slowest[op.latency] = max(slowest[op.latency], ready[-1] + behind)
    return max(slowest.values())


@pytest.mark.parametrize("stages", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("with_trigger", [False, True])
def test_stages_are_in_order_and_of_like_delay(program, stages, with_trigger):
    cut = cut_evenly(program, stages, with_trigger=with_trigger)
    for op in cut.ops:
        assert all(cut.ops[source].latency <= op.latency for source in op.addr)
    assert {op.latency for op in cut.ops} == set(range(1, stages + 1))
    whole = slowest_ns(cut_evenly(program, 1, with_trigger=with_trigger), with_trigger)
    longest = max(rtl_pipeline._delay_ns(op, program) for op in program.ops)
    assert whole / stages <= slowest_ns(cut, with_trigger) <= whole / stages + longest + COMPARE_NS


def test_more_stages_than_operations_leave_some_empty(program):
    cut = cut_evenly(program, 40, with_trigger=False)
    assert max(op.latency for op in cut.ops) == 40
