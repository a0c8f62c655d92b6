"""Test vectors of the global trigger: a packer written from the format's description, and CMS's own bits."""

import gzip

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from axo.errors import UserError
from axo.events.sources import count_events, iter_events, read_events
from axo.network import evaluate

AXO_BRACKETS = {
    "L1_AXO_VLoose": (438, 15711, 15732),
    "L1_AXO_Loose": (439, 17564, 17633),
    "L1_AXO_Nominal": (440, 18558, 18621),
    "L1_AXO_Tight": (441, 20438, 20619),
}


def binary(value, width):
    """`width` binary digits of `value` in two's complement."""
    return format(int(value) & (2**width - 1), f"0{width}b")


def word(*fields):
    """Hexadecimal of (value, width) fields, most significant first."""
    digits = "".join(binary(value, width) for value, width in fields)
    assert len(digits) % 4 == 0
    return format(int(digits, 2), f"0{len(digits) // 4}x")


def line(bx, words, extras, bits, junk, further=6):
    """One line of a test vector. `junk` (rng) fills what the reader must not look at."""

    def noise(width):
        return int(junk.integers(0, 2**width)), width

    def fill(n, width=32):
        return [word(*[noise(32)] * (width // 32)) for _ in range(n)]

    met = words[:3]
    eg, mu, jet = (words[a:b].reshape(-1, 3) for a, b in ((3, 15), (15, 27), (27, 57)))
    muons, egammas = [], []
    for (pt, eta, phi), charge, quality in zip(mu, extras["mu_charge"], extras["mu_qual"], strict=True):
        sign = (charge < 0, 1) if charge else noise(1)
        kinematics = (eta, 9), (quality, 4), (pt, 9), (phi, 10)
        muons.append(word(noise(28), (charge != 0, 1), sign, noise(2), *kinematics))
    for (pt, eta, phi), isolation in zip(eg, extras["eg_iso"], strict=True):
        egammas.append(word(noise(5), (isolation, 2), (phi, 8), (eta, 8), (pt, 9)))
    jets = [word(noise(5), (phi, 8), (eta, 8), (pt, 11)) for pt, eta, phi in jet]
    sums = [
        word(noise(20), (extras["ett_pt"], 12)),
        word(noise(20), (extras["htt_pt"], 12)),
        word(noise(12), (met[2], 8), (met[0], 12)),
        word(noise(32)),
        word(noise(12), noise(8), (extras["methf_pt"], 12)),
        word(noise(32)),
    ]
    calo = [*egammas, *fill(8), *fill(12), *jets, *fill(2)]
    algorithms = word(*((int(bit), 1) for bit in bits[::-1]))
    columns = [*muons, *fill(4, 64), *calo, *sums, *fill(further), *fill(1, 256), algorithms, "1"]
    return " ".join([f"{bx:04d}", *columns])


def absent_cleared(words, extras):
    """The extras with those of absent electrons and muons zero, as the reader gives them."""
    electron, muon = words[:, 3:15:3] > 0, words[:, 15:27:3] > 0
    return extras | {
        "eg_iso": extras["eg_iso"] * electron,
        "mu_qual": extras["mu_qual"] * muon,
        "mu_charge": extras["mu_charge"] * muon,
    }


@settings(deadline=None, max_examples=30)
@given(
    st.integers(0, 2**32), st.integers(1, 12), st.sampled_from([0, 6, 9]), st.booleans(), st.integers(1, 13)
)
def test_what_was_packed_is_read(tmp_path_factory, make_events, seed, n, further, compressed, chunk):
    events = make_events(seed, n)
    rng = np.random.default_rng(seed)
    bits = rng.integers(0, 2, (n, 512)).astype(bool)
    bx = rng.permutation(3564)[:n]
    text = "".join(
        line(bx[i], events.words[i], {k: v[i] for k, v in events.extras.items()}, bits[i], rng, further)
        + "\n"
        for i in range(n)
    )
    path = tmp_path_factory.mktemp("ugt") / "vectors"
    path.write_bytes(gzip.compress(text.encode()) if compressed else text.encode())
    assert count_events(path) == n
    parts = list(iter_events(path, chunk=chunk))
    np.testing.assert_array_equal(np.concatenate([part.words for part in parts]), events.words)
    np.testing.assert_array_equal(np.concatenate([part.seed_bits for part in parts]), bits)
    np.testing.assert_array_equal(np.concatenate([part.bunch_crossing for part in parts]), bx)
    for name, expected in absent_cleared(events.words, events.extras).items():
        np.testing.assert_array_equal(np.concatenate([part.extras[name] for part in parts]), expected)
    assert parts[0].seed_names[:2] == ("bit0", "bit1") and not parts[0].pt_ordered


def test_objects_of_pt_zero_are_absent_whatever_else_they_say(tmp_path, make_events):
    events = make_events(5, 1)
    words = events.words[0].copy()
    words[3:6], words[15:18], words[27:30] = (0, 5, 9), (0, -7, 100), (0, 3, 2)
    extras = {name: array[0] for name, array in events.extras.items()}
    extras["eg_iso"], extras["mu_qual"], extras["mu_charge"] = np.array(
        [[3, 0, 0, 0], [12, 0, 0, 0], [1, 0, 0, 0]]
    )
    path = tmp_path / "v.txt"
    path.write_text(line(0, words, extras, np.zeros(512, bool), np.random.default_rng(0)))
    read = read_events(path)
    for first in (3, 15, 27):
        assert not read.words[0, first : first + 3].any()
    assert not any(read.extras[name][0, 0] for name in ("eg_iso", "mu_qual", "mu_charge"))


def test_seed_table_picks_and_names_bits(tmp_path, vector_lines):
    (tmp_path / "v.txt").write_text("\n".join(vector_lines))
    (tmp_path / "seeds.csv").write_text("index,name\n511,L1_Last\n0,L1_First\n")
    everything = read_events(tmp_path / "v.txt")
    named = read_events(tmp_path / "v.txt", seed_names=tmp_path / "seeds.csv")
    assert named.seed_names == ("L1_First", "L1_Last")
    np.testing.assert_array_equal(named.seed_bits, everything.seed_bits[:, [0, 511]])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the first line must be index,name"),
        ("Index,Name,Emergency\n0,a,1\n", "the first line must be index,name"),
        ("index,name\n", "names no seed"),
        ("index,name\n512,a\n", "line 2: '512,a' is not a bit 0 to 511"),
        ("index,name\n-1,a\n", "line 2: '-1,a' is not a bit"),
        ("index,name\n1,a\n1,b\n", "line 3: bit 1 or name b is there twice"),
        ("index,name\n1,a\n2,a\n", "line 3: bit 2 or name a is there twice"),
        ("index,name\n1\n", "line 2: '1' is not a bit"),
        ("index,name\n1,\n", "line 2: '1,' is not a bit"),
    ],
)
def test_bad_seed_tables(tmp_path, vector_lines, text, message):
    (tmp_path / "v.txt").write_text("\n".join(vector_lines))
    (tmp_path / "seeds.csv").write_text(text)
    with pytest.raises(UserError, match=rf"seeds\.csv: {message}"):
        read_events(tmp_path / "v.txt", seed_names=tmp_path / "seeds.csv")


def test_a_seed_table_that_is_not_there(tmp_path, vector_lines):
    (tmp_path / "v.txt").write_text("\n".join(vector_lines))
    with pytest.raises(UserError, match=r"none\.csv: cannot be read"):
        read_events(tmp_path / "v.txt", seed_names=tmp_path / "none.csv")


@pytest.fixture(scope="module")
def vector_lines(make_events):
    """Five good lines."""
    events, rng = make_events(6, 5), np.random.default_rng(6)
    return [
        line(i, events.words[i], {k: v[i] for k, v in events.extras.items()}, rng.integers(0, 2, 512), rng)
        for i in range(5)
    ]


def column(number, value):
    """Change a line so that its column `number` (from 1) is `value`."""

    def change(text):
        fields = text.split()
        fields[number - 1] = value
        return " ".join(fields)

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text[:500], r"line 3 \(event 2\): has \d+ columns, but line 1 has 60"),
        (lambda text: text + " 0", r"line 3 \(event 2\): has 61 columns, but line 1 has 60"),
        (lambda text: "", r"line 3 \(event 2\): has 1 columns"),
        (column(1, "3564"), r"line 3 \(event 2\): bunch crossing '3564' is not 0 to 3563"),
        (column(1, "-001"), r"line 3 \(event 2\): bunch crossing '-001'"),
        (column(2, "0" * 8), r"line 3 \(event 2\): column 2 has 8 digits, but 16 are due"),
        (column(10, "0" * 16), r"line 3 \(event 2\): column 10 has 16 digits, but 8 are due"),
        (column(59, "0" * 127), r"line 3 \(event 2\): column 59 has 127 digits, but 128 are due"),
        (column(11, "0000000g"), r"line 3 \(event 2\): column 11, '0000000g', is not hexadecimal"),
        (column(60, "x"), r"line 3 \(event 2\): column 60, 'x', is not hexadecimal"),
        (column(11, "é" * 4), r"line 3 \(event 2\): column 11, .* is not hexadecimal"),
    ],
)
def test_bad_lines_say_where(tmp_path, vector_lines, change, message):
    lines = list(vector_lines)
    lines[2] = change(lines[2])
    (tmp_path / "v.txt").write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(UserError, match=r"v\.txt: " + message):
        read_events(tmp_path / "v.txt")


def test_too_few_columns(tmp_path, vector_lines):
    (tmp_path / "v.txt").write_text("\n".join(" ".join(text.split()[:50]) for text in vector_lines))
    with pytest.raises(UserError, match=r"v\.txt: line 1 has \d+ columns, but a test vector has at least 54"):
        read_events(tmp_path / "v.txt")


def test_truncated_and_damaged_gzip(tmp_path, vector_lines):
    whole = gzip.compress("\n".join(vector_lines).encode())
    damaged = bytearray(whole)
    damaged[len(whole) // 2] ^= 0xFF
    for name, content, message in (
        ("cut", whole[: len(whole) // 2], "ends too early"),
        ("stub", whole[:6], "ends too early"),
        ("flip", bytes(damaged), "is damaged"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=rf"{name}: the compressed file {message}"):
            read_events(tmp_path / name)


def test_an_empty_gzip(tmp_path):
    (tmp_path / "empty.gz").write_bytes(gzip.compress(b""))
    with pytest.raises(UserError, match=r"empty\.gz: holds no bunch crossings"):
        read_events(tmp_path / "empty.gz", format="ugt")


def test_cms_bits_of_2024_from_the_golden_network(shared, golden_network):
    """Known answer: the trigger's own AXO bits on every one of the 3564 crossings."""
    events = read_events(
        shared / "real" / "ugt" / "TestVector_L1Menu_Collisions2024_v1_2_0_ttBar.txt.gz",
        seed_names=shared / "real" / "menus" / "L1Menu_Collisions2024_v1_2_0_seeds.csv",
    )
    assert len(events) == 3564
    score = evaluate(golden_network, events.words).score_word
    raw = read_events(
        shared / "real" / "ugt" / "TestVector_L1Menu_Collisions2024_v1_2_0_ttBar.txt.gz"
    ).seed_bits
    for name, (index, low, high) in AXO_BRACKETS.items():
        bit = events.seed_bits[:, events.seed_names.index(name)]
        np.testing.assert_array_equal(bit, raw[:, index])
        assert 0 < bit.sum() < 3564
        for threshold in (low, high):
            np.testing.assert_array_equal(bit, score >= threshold)


def test_recorded_2025_vectors_pass_every_check(shared):
    events = read_events(
        shared / "real" / "ugt" / "TestVector_L1Menu_Collisions2025_v1_0_0_data.txt.gz",
        seed_names=shared / "real" / "menus" / "L1Menu_Collisions2025_v1_0_0_seeds.csv",
    )
    assert len(events) == 3564
    np.testing.assert_array_equal(events.bunch_crossing, np.arange(3564))
    # Muons are ranked by quality too: the recorded order is kept.
    assert (np.diff(events.words[:, 15:27:3].astype(int), axis=1) > 0).any()
