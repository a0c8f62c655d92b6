"""The menu against recorded decisions of the CMS global trigger, and against a slow evaluation."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from axo.errors import UserError
from axo.events import Events
from axo.events.sources import read_events
from axo.physics.menu import Condition, Menu, Seed, eta_words, menu_names, pt_word, read_menu
from axo.physics.prescales import read_prescales
from tests.events.conftest import hardware_words

TABLE = "L1Menu_Collisions2024_v1_3_0_prescales.csv"


@pytest.fixture(scope="module")
def menu():
    return read_menu()


def recorded(shared, vectors, seeds):
    events = read_events(shared / "real" / "ugt" / vectors, seed_names=shared / "real" / "menus" / seeds)
    return events, dict(zip(events.seed_names, events.seed_bits.T, strict=True))


def test_default_menu_agrees_with_the_trigger_on_recorded_crossings(menu, shared):
    events, real = recorded(
        shared,
        "TestVector_L1Menu_Collisions2025_v1_0_0_data.txt.gz",
        "L1Menu_Collisions2025_v1_0_0_seeds.csv",
    )
    ours = dict(zip(menu.seeds, menu.evaluate(events).T, strict=True))
    wrong = {name: int((ours[name] != real[name]).sum()) for name in ours if name in real}
    assert len(wrong) == 158 and sum(real[name].any() for name in wrong) > 130
    # Masses and distances come from tables of limited precision in the trigger; all else is exact.
    related = {name for name in wrong if any(condition.is_related for condition in menu.seeds[name].when)}
    assert {name for name, n in wrong.items() if n} <= related
    assert max(wrong.values()) <= 2 and sum(n == 0 for n in wrong.values()) >= 150


def test_default_menu_agrees_with_the_trigger_on_simulated_crossings(menu, shared):
    """Crowded tt̄ crossings: muons and sums alone, for there were more other objects than words."""
    events, real = recorded(
        shared,
        "TestVector_L1Menu_Collisions2024_v1_2_0_ttBar.txt.gz",
        "L1Menu_Collisions2024_v1_2_0_seeds.csv",
    )
    ours = dict(zip(menu.seeds, menu.evaluate(events).T, strict=True))
    simple = [
        name
        for name, seed in menu.seeds.items()
        if all(condition.kind in ("HTT", "ETMHF", "ETM", "ETT") for condition in seed.when)
        or (name.startswith("L1_SingleMu") and name in real)
    ]
    assert len(simple) > 25 and sum(real[name].any() for name in simple) > 20
    assert [name for name in simple if (ours[name] != real[name]).any()] == []


def test_prescales_and_bits_of_the_default_menu_are_those_of_the_public_table(menu, shared):
    path = shared / "real" / "menus" / TABLE
    table = read_prescales(path)
    bits = {row.split(",")[1]: int(row.split(",")[0]) for row in path.read_text().splitlines()[1:]}
    for column in menu.columns:
        public = table.column(column)
        assert {name: public[name] for name in menu.seeds} == menu.prescales(column)
    assert {name: bits[name] for name in menu.seeds} == {name: seed.bit for name, seed in menu.seeds.items()}


# A slow evaluation: every choice of different objects, one event at a time, in physical units.


def slow(condition, words, extras):
    kind, n = condition.kind, len(condition.pt_gev)
    sums = {"ETM": words[0], "ETMHF": extras["methf_pt"], "HTT": extras["htt_pt"], "ETT": extras["ett_pt"]}
    if kind in sums:
        return sums[kind] * 0.5 >= condition.pt_gev[0]
    first, count = {"EG": (3, 4), "MU": (15, 4), "JET": (27, 10)}[kind]
    objects = [tuple(int(w) for w in words[first + 3 * i : first + 3 * i + 3]) for i in range(count)]
    present = [i for i, (pt, _, _) in enumerate(objects) if pt > 0]

    def at(values, i):
        return values[i] if len(values) == n else values[0]

    def passes(item, leg):
        pt, eta, _ = objects[item]
        gev = (pt - 1) / 2 if kind == "MU" else pt / 2
        step = 0.010875 if kind == "MU" else 0.0435
        inside = [-math.inf, math.inf] if kind == "MU" else [eta * step, (eta + 1) * step]
        if kind == "MU":
            inside = [(eta - 0.5) * step, (eta + 0.5) * step]
        limit, forward = at(condition.eta_max, leg), at(condition.eta_min, leg)
        return (
            gev >= condition.pt_gev[leg]
            and (limit is None or (inside[1] > -limit and inside[0] <= limit))
            and (forward is None or inside[1] <= -forward or inside[0] > forward)
            and (kind != "MU" or extras["mu_qual"][item] >= at(condition.quality, leg))
            and (kind != "EG" or extras["eg_iso"][item] in at(condition.isolation, leg))
        )

    def together(chosen):
        if condition.charge and len({extras["mu_charge"][i] for i in chosen} & {-1, 1}) != 2:
            return False
        step, turn = (0.010875, 576) if kind == "MU" else (0.0435, 144)
        mass = 0.0
        for i, j in itertools.combinations(chosen, 2):
            (pt, eta, phi), (pt2, eta2, phi2) = objects[i], objects[j]
            shift = -0.25 if kind == "MU" else 0.25
            d_eta = (eta - eta2) * step
            d_phi = math.remainder((phi - phi2) * 2 * math.pi / turn, 2 * math.pi)
            mass += 2 * (pt / 2 + shift) * (pt2 / 2 + shift) * (math.cosh(d_eta) - math.cos(d_phi))
            for value, limits in (
                (abs(d_eta), condition.delta_eta),
                (abs(d_phi), condition.delta_phi),
                (math.hypot(d_eta, d_phi), condition.delta_r),
            ):
                if limits and not (limits[0] or 0) <= value <= (limits[1] or math.inf):
                    return False
        limits = condition.mass_gev
        return not limits or (limits[0] or 0) <= math.sqrt(mass) <= (limits[1] or math.inf)

    return any(
        all(passes(item, leg) for leg, item in enumerate(chosen)) and together(chosen)
        for chosen in itertools.permutations(present, n)
    )


thresholds = st.sampled_from([0, 2, 4.5, 10, 30, 60, 100])
etas = st.sampled_from([None, 0.8, 1.5, 2.39, 3.7])
# Limits that no pair of bins hits exactly, so that float rounding cannot decide.
limits = st.sampled_from([None, (None, 1.2345), (0.5432, None), (0.3333, 2.7182)])


@st.composite
def conditions(draw):
    kind = draw(st.sampled_from(["MU", "EG", "JET", "HTT", "ETMHF", "ETM", "ETT"]))
    if kind in ("HTT", "ETMHF", "ETM", "ETT"):
        return Condition(kind, (draw(st.sampled_from([10, 300, 1500])),))
    n = draw(st.integers(1, 4))
    cuts = {"pt_gev": tuple(draw(thresholds) for _ in range(n))}
    cuts["eta_max"] = tuple(draw(etas) for _ in range(draw(st.sampled_from([1, n]))))
    cuts["eta_min"] = (draw(st.sampled_from([None, None, 1.4])),)
    if kind == "MU":
        cuts["quality"] = tuple(
            draw(st.sampled_from([0, 4, 12])) for _ in range(draw(st.sampled_from([1, n])))
        )
        cuts["charge"] = draw(st.sampled_from([None, "opposite"])) if n in (2, 3) else None
    if kind == "EG":
        cuts["isolation"] = (draw(st.sampled_from([(0, 1, 2, 3), (1, 3), (2, 3)])),)
    if n == 2:
        cuts |= {name: draw(limits) for name in ("delta_eta", "delta_phi", "delta_r")}
    if n in (2, 3):
        cuts["mass_gev"] = draw(st.sampled_from([None, (20.123, None), (None, 150.321)]))
    return Condition(kind, **cuts)


@settings(deadline=None, max_examples=60)
@given(st.lists(conditions(), min_size=1, max_size=3), st.integers(0, 2**32), st.booleans())
def test_any_condition_agrees_with_a_slow_evaluation(asked, seed, ordered):
    rng = np.random.default_rng(seed)
    words = hardware_words(rng, 60)
    for first, count in ((3, 4), (15, 4), (27, 10)):
        # Pt and angles small enough that every kind of cut decides now and then.
        block = words[:, first : first + 3 * count]
        block[:, 0::3] = np.where(block[:, 0::3] > 0, np.minimum(block[:, 0::3], 1 + block[:, 0::3] % 400), 0)
        if not ordered:
            order = rng.permutation(count)
            block[:] = block.reshape(-1, count, 3)[:, order].reshape(block.shape)
    extras = {
        "htt_pt": rng.integers(0, 4096, 60),
        "ett_pt": rng.integers(0, 4096, 60),
        "methf_pt": rng.integers(0, 4096, 60),
        "eg_iso": rng.integers(0, 4, (60, 4)),
        "mu_qual": rng.integers(0, 16, (60, 4)),
        "mu_charge": rng.integers(-1, 2, (60, 4)),
    }
    events = Events(words, extras=extras, pt_ordered=False)
    menu = Menu(
        "random", {"both": Seed(tuple(asked)), **{f"only{i}": Seed((c,)) for i, c in enumerate(asked)}}
    )
    fired = menu.evaluate(events)
    single = [
        [slow(condition, words[i], {name: array[i] for name, array in extras.items()}) for condition in asked]
        for i in range(60)
    ]
    np.testing.assert_array_equal(fired[:, 1:], np.array(single, bool))
    np.testing.assert_array_equal(fired[:, 0], np.all(single, axis=1))


def test_words_of_thresholds_and_ranges():
    """As in the VHDL of public menus: a 22 GeV muon is word 45; er2p5 is -58 to 57, muon er2p1 ±193."""
    assert pt_word("MU", 22) == 45 and pt_word("MU", 0) == 1
    assert pt_word("EG", 36) == 72 and pt_word("JET", 0) == 1 and pt_word("HTT", 0) == 0
    assert eta_words("EG", 2.5) == (-58, 57) and eta_words("MU", 2.1) == (-193, 193)


def test_ordered_events_give_the_same_as_unordered(menu):
    events = read_events("sample:sig_ttbar", limit=2000)
    assert events.pt_ordered
    shuffled = Events(events.words, extras=events.extras, pt_ordered=False)
    fired = menu.evaluate(events)
    assert fired.any(axis=0).sum() > 60
    np.testing.assert_array_equal(fired, menu.evaluate(shuffled))


def test_missing_extras_are_named(menu):
    events = read_events("sample:sig_ttbar", limit=10)
    bare = Events(events.words, extras={"htt_pt": events.extras["htt_pt"]})
    with pytest.raises(UserError, match="reads eg_iso, ett_pt, methf_pt, mu_charge, mu_qual"):
        menu.evaluate(bare)
    assert Menu("m", {"s": Seed((Condition("JET", (30,)),))}).evaluate(bare).shape == (10, 1)


def test_shipped_menus_and_columns(menu):
    assert "default" in menu_names()
    assert menu.prescales() == menu.prescales("2p0E34")
    assert set(menu.prescales("Emergency").values()) == {0}
    with pytest.raises(UserError, match=r"2p0E43.*did you mean '2p0E34'"):
        menu.prescales("2p0E43")


GOOD = """\
name: m
columns: [a, b]
seeds:
  S:
    prescale: [1, 0]
    when:
      - {kind: MU, pt_gev: [3]}
"""


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("kind: MU", "kind: MUON", r"when\[0\]: kind 'MUON' is none of MU, EG"),
        ("pt_gev: [3]", "pt_gev: []", r"0 thresholds for MU"),
        ("pt_gev: [3]", "pt_gev: 3", r"pt_gev: must be a list"),
        ("pt_gev: [3]", "pt_gev: [3], isolation: [[1]]", "isolation means nothing for MU"),
        ("pt_gev: [3]", "pt_gev: [3], charge: opposite", "need two or three"),
        ("pt_gev: [3]", "pt_gev: [3], delta_r: [0, 1]", "need two thresholds"),
        ("pt_gev: [3]", "pt_gev: [3, 3], eta_max: [1, 2, 3]", "eta_max has 3 entries"),
        ("pt_gev: [3]", "pt_gev: [3, 3], charge: same", "must be opposite"),
        ("prescale: [1, 0]", "prescale: [1, 0, 2]", "3 entries, but there are 2 columns"),
        ("prescale: [1, 0]", "prescale: [1, -1]", "at least 0"),
        ("prescale", "prescales", "did you mean 'prescale'"),
    ],
)
def test_faults_of_a_menu_are_named(tmp_path, old, new, fault):
    path = tmp_path / "menu.yaml"
    path.write_text(GOOD)
    assert read_menu(path).prescales("b") == {"S": 0}
    path.write_text(GOOD.replace(old, new))
    with pytest.raises(UserError, match=fault) as error:
        read_menu(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("index,name\n", "the first line must be"),
        ("Index,Name,a,a\n", "same name"),
        ("Index,Name,a\n1,L1_A,1,2\n", "line 2: has 4 fields"),
        ("Index,Name,a\n1,L1_A,-1\n", "line 2: prescale '-1'"),
        ("Index,Name,a\n1,L1_A,x\n", "line 2: prescale 'x'"),
        ("Index,Name,a\n1,L1_A,nan\n", "line 2: prescale 'nan'"),
        ("Index,Name,a\n1,L1_A,1\n2,L1_A,1\n", "line 3: seed L1_A is there twice"),
        ("Index,Name,a\n", "names no seed"),
    ],
)
def test_faults_of_a_prescale_table_are_named(tmp_path, text, fault):
    path = tmp_path / "table.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=fault) as error:
        read_prescales(path)
    assert str(path) in str(error.value)
