"""The menu against recorded decisions of the CMS global trigger, and against a slow evaluation."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from axo.errors import UserError
from axo.events import Events
from axo.events.sources import read_events
from axo.layout import Kind, Layout, Quantity, find_layout
from axo.physics.menu import Condition, Menu, Scale, Seed, menu_names, read_menu
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


def of_v1_2_0(condition):
    """As menu v1_2_0 of 2024 has it: loose isolation is LUT 0xC; forward jets are beyond 2.479."""
    loose = tuple((2, 3) if words == (1, 2, 3) else words for words in condition.isolation)
    is_jet = condition.kind == "JET"
    forward = tuple(2.479 if is_jet and eta == 2.5 else eta for eta in condition.eta_min)
    return replace(condition, isolation=loose, eta_min=forward)


def test_default_menu_agrees_with_the_trigger_on_all_of_its_objects(menu, shared):
    """Crowded tt̄ crossings: what 57 words cannot tell of 158 seeds, all objects can."""
    vectors = "TestVector_L1Menu_Collisions2024_v1_2_0_ttBar.txt.gz"
    _, real = recorded(shared, vectors, "L1Menu_Collisions2024_v1_2_0_seeds.csv")
    seeds = {name: Seed(tuple(map(of_v1_2_0, menu.seeds[name].when))) for name in menu.seeds if name in real}
    fired = Menu("v1_2_0", seeds).evaluate(read_events(shared / "real" / "ugt" / vectors, layout="cms_gt"))
    wrong = {name: int((ours != real[name]).sum()) for name, ours in zip(seeds, fired.T, strict=True)}
    assert len(wrong) > 150 and sum(real[name].any() for name in wrong) > 130
    related = {name for name in wrong if any(condition.is_related for condition in menu.seeds[name].when)}
    assert {name for name, n in wrong.items() if n} <= related
    assert max(wrong.values()) <= 1 and sum(n == 0 for n in wrong.values()) >= 150


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
    muon, egamma, jet, htt = (
        Scale.of(find_layout("cms_gt").kind(name)) for name in ("MU", "EG", "JET", "HTT")
    )
    assert muon.pt_word(22) == 45 and muon.pt_word(0) == 1
    assert egamma.pt_word(36) == 72 and jet.pt_word(0) == 1 and htt.pt_word(0) == 0
    assert egamma.eta_words(2.5) == (-58, 57) and muon.eta_words(2.1) == (-193, 193)


def test_words_of_another_layout_mean_what_it_says():
    """32 steps a GeV, eta in steps of 1/8 from 0.5 on: by hand."""
    eta = Quantity("eta", "eta", 8, True, step=0.125, origin=0.5)
    scale = Scale.of(Kind("J", 2, (Quantity("pt", "pt", 16, step=1 / 32), eta), present="pt"), "other")
    assert scale.pt_word(2) == 64 and scale.pt_word(0) == 1
    # 0.5 + 0.125 w within 1: w from -12 to 4.
    assert scale.eta_words(1.0) == (-12, 4)
    assert scale.pt_gev(np.array([64.0])) == [2.0]


def test_a_menu_of_another_layout_by_hand():
    """GELATO's objects: pt in steps of 0.1 GeV, eta in steps of 0.025."""
    gelato = find_layout("atlas_gelato")
    column = {word.name: place for place, word in enumerate(gelato.words)}
    words = np.zeros((4, len(gelato.words)), np.int16)
    for event, name, value in [
        (0, "jet2_pt", 300), (0, "jet5_pt", 300), (0, "jet5_eta", -40),
        (1, "jet0_pt", 300), (1, "jet1_pt", 299),
        (2, "jet0_pt", 300), (2, "jet1_pt", 300), (2, "jet1_eta", 41), (2, "met_pt", 500),
        (3, "etau0_pt", 200), (3, "etau0_phi", 1), (3, "etau1_pt", 100), (3, "etau1_phi", 127),
    ]:  # fmt: skip
        words[event, column[name]] = value
    seeds = {
        "jets": Seed((Condition("jet", (30.0, 30.0), eta_max=(1.0,)),)),
        "met": Seed((Condition("met", (50.0,)),)),
        "near": Seed((Condition("etau", (10.0, 10.0), delta_phi=(None, 0.1)),)),
        "pair": Seed((Condition("etau", (10.0, 10.0), mass_gev=(1.38, 1.4)),)),
    }
    menu = Menu("m", seeds, layout="atlas_gelato")
    fired = menu.evaluate(Events(words, layout=gelato, pt_ordered=False))
    # Masses: sqrt(2 * 20 * 10 * (1 - cos(2 * 2 pi / 128))) = 1.388 GeV.
    assert fired.tolist() == [[1, 0, 0, 0], [0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 1]]


def test_what_events_lack_for_a_menu_is_named(menu):
    gelato = find_layout("atlas_gelato")
    events = Events(np.zeros((2, 44), np.int16), layout=gelato)
    with pytest.raises(UserError, match="reads EG, ETMHF, ETT, HTT, JET, MET, MU, which these events do"):
        menu.evaluate(events)
    few = find_layout("cms_gt").select([("EG", 2, ["pt"])], "few")
    three = Menu("m", {"s": Seed((Condition("EG", (5.0, 5.0, 5.0)),))})
    with pytest.raises(UserError, match="reads 3 EG, which"):
        three.evaluate(Events(np.zeros((2, 2), np.int16), layout=few))
    finer = Layout("finer", "", (Kind("EG", 3, (Quantity("pt", "pt", 9, step=0.25),)),))
    with pytest.raises(UserError, match=r"layout 'cms_gt', and events of 'finer' have EG pt .* another step"):
        three.evaluate(Events(np.zeros((2, 3), np.int16), layout=finer))


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
    with pytest.raises(UserError, match="reads EG isolation, ETMHF, ETT, MU charge, MU quality, which"):
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
        (
            "kind: MU, pt_gev: [3]",
            "kind: JET, pt_gev: [3], isolation: [[1]]",
            "isolation means nothing for JET",
        ),
        ("kind: MU, pt_gev: [3]", "kind: HTT, pt_gev: [3], eta_max: [1]", "eta_max means nothing for HTT"),
        ("kind: MU, pt_gev: [3]", "kind: HTT, pt_gev: [3, 3]", "2 thresholds for HTT"),
        ("columns", "layout: cms_gtt\ncolumns", "did you mean 'cms_gt'"),
        ("columns", "layout: atlas_gelato\ncolumns", "kind 'MU' is none of jet, etau, mu, met"),
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
