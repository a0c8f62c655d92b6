"""The C source of a network: every event exactly as the reference, many events at a time.

Events run in blocks of BLOCK. A tensor is held as *lanes*, ``int32_t t[size][BLOCK]`` (int64_t
where interval analysis over all words that the network takes asks for it), and each operation is a loop over
elements and lanes that the compiler vectorises. That serves every network and every machine.

With AVX-512 VNNI two things are faster, each used only where it is proved to be exact:
  - a dense layer as dot products of four unsigned bytes or two int16 at a time, of inputs held
    *packed*, ``int32_t t_packed[groups][BLOCK]``, followed at once by the cast or ReLU after it;
    groups of weights that are all zero cost nothing;
  - the scaling of the words, event by event, and their transposition.
"""

from __future__ import annotations

from importlib import resources

from axo.emulator.kernel.dot import dot_functions, front_function, pack_function
from axo.emulator.kernel.loops import loop_function, unpack_function, words_function
from axo.emulator.kernel.plan import Plan
from axo.emulator.kernel.text import BLOCK, Function
from axo.network import WORDS, Dense, Network, Operation


def generate(network: Network, vnni: bool = False) -> str:
    """The C source that evaluates `network`; `vnni`: for a CPU with AVX-512 F, BW, DQ, VL and VNNI.

    It defines ``int axo_evaluate(const int16_t *words, int64_t n, int32_t *score, int32_t
    *embedding)`` (int32_t words for a layout that needs them), which returns 0, or 1 when out of
    memory; `embedding` may be NULL.
    Raises UserError when the network needs more than int64.
    """
    plan = Plan(network, vnni)
    functions = [function for name in network.types for function in _functions(plan, name)]
    headers = {name: resources.files(__package__).joinpath(f"{name}.h").read_text() for name in _HEADERS}
    parts = [
        "#include <stdint.h>\n#include <stdlib.h>\n#include <string.h>\n",
        f"#define BLOCK {BLOCK}\n",
        headers["avx512"] if vnni else "",
        _buffers(plan),
    ]
    # The same macros mean other lanes in each header: it goes before every run of functions of its kind.
    lanes = None
    for function in functions:
        if function.lanes != lanes:
            lanes = function.lanes
            parts.append(headers[lanes])
        parts.append(function.text)
    return "\n".join([*parts, _evaluate(plan, functions)])


_HEADERS = ("avx512", "scalar", "lanes32", "lanes16")


def _functions(plan: Plan, name: str) -> list[Function]:
    """What computes tensor `name` in every storage that is wanted of it."""
    wanted = plan.wanted[name]
    if not wanted or (name != WORDS and plan.network.operation(name).input in plan.fused):
        return _dot(plan, name) if name in plan.fused else []
    if name in plan.fronts:
        unpack = [unpack_function(name, plan.packings[name])] if "lanes" in wanted else []
        return [front_function(plan, name), *unpack]
    if name == WORDS:
        return [words_function(len(plan.network.words))]
    functions = _dot(plan, name) or [loop_function(plan, plan.network.operation(name))]
    if "packed" in wanted:
        functions.append(pack_function(name, plan.packings[name], plan.network.sizes[name]))
    return functions


def _dot(plan: Plan, name: str) -> list[Function]:
    operation: Operation | None = None if name == WORDS else plan.network.operation(name)
    return dot_functions(plan, operation) if isinstance(operation, Dense) and name in plan.dots else []


def _buffers(plan: Plan) -> str:
    """The tensors of one block, in every storage that may be used."""
    lines = []
    for name, size in plan.network.sizes.items():
        if plan.wanted[name]:
            lines.append(f"    {plan.c_type(name)} {name}[{size}][BLOCK] __attribute__((aligned(64)));")
        if name in plan.packings:
            groups = len(plan.packings[name].groups)
            lines.append(f"    int32_t {name}_packed[{groups}][BLOCK] __attribute__((aligned(64)));")
    word = _word_type(plan)
    tail = f"    {word} tail[BLOCK * {len(plan.network.words)}] __attribute__((aligned(64)));"
    return "\n".join(["struct buffers {", f"    const {word} *rows;", *lines, tail, "};\n"])


def _word_type(plan: Plan) -> str:
    return "int16_t" if plan.narrow else "int32_t"


def _evaluate(plan: Plan, functions: list[Function]) -> str:
    network = plan.network
    calls = "\n".join(f"        {function.call}" for function in functions if function.call)
    return f"""
int axo_evaluate(const {_word_type(plan)} *words, int64_t n, int32_t *score, int32_t *embedding) {{
    struct buffers *b = aligned_alloc(64, sizeof *b);
    if (b == NULL) return 1;
    for (int64_t first = 0; first < n; first += BLOCK) {{
        const int64_t count = n - first < BLOCK ? n - first : BLOCK;
        b->rows = words + first * {len(network.words)};
        if (count < BLOCK) {{
            memset(b->tail, 0, sizeof b->tail);
            memcpy(b->tail, b->rows, count * {len(network.words)} * sizeof *b->tail);
            b->rows = b->tail;
        }}
{calls}
        for (int64_t e = 0; e < count; e++) score[first + e] = (int32_t)b->{network.score}[0][e];
        if (embedding != NULL)
            for (int64_t e = 0; e < count; e++)
                for (int64_t j = 0; j < {network.sizes[network.embedding]}; j++)
                    *embedding++ = (int32_t)b->{network.embedding}[j][e];
    }}
    free(b);
    return 0;
}}
"""
