import pytest

from axo.errors import UserError
from axo.rate_monitor.fills import colliding_bunches, read_fill

HEADER = "#run:fill,ls,time,beamstatus,E(GeV),delivered(/fb),recorded(/fb),avgpu,source\n"
ROW = "386554:10197,{ls}:{ls},10/03/24 20:54:36,STABLE BEAMS,6800,0.000470514,0.000449872,61.3,HFET\n"
TEXT = (
    "#Data tag : 24v2 , Norm tag: None\n" + HEADER + ROW.format(ls=1) + ROW.format(ls=2) + "#Summary:\n#1,1\n"
)


@pytest.fixture
def written(tmp_path):
    def write(text):
        path = tmp_path / "fill.csv"
        path.write_text(text)
        return path

    return write


def test_rows_are_read(written):
    first, second = read_fill(written(TEXT))
    assert (first.run, first.fill, first.lumi_section, second.lumi_section) == (386554, 10197, 1, 2)
    assert first.start_time_s == 1727988876  # 2024-10-03 20:54:36 UTC
    assert (first.beam_status, first.pileup) == ("STABLE BEAMS", 61.3)
    assert first.live_fraction == pytest.approx(0.449872 / 0.470514)


def test_units_are_read_from_the_header(written):
    text = TEXT.replace("delivered(/fb)", "delivered(/pb)")
    assert read_fill(written(text))[0].delivered_fb == pytest.approx(0.000470514e-3)


def test_nothing_delivered_is_not_live(written):
    assert read_fill(written(TEXT.replace("0.000470514", "0")))[0].live_fraction == 0.0


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (",HFET", "", "line 3: has 8 columns, not 9"),
        ("61.3", "nan", "line 3: avgpu 'nan' is not a number"),
        ("61.3", "-1", "line 3: avgpu '-1' is not a number"),
        ("0.000449872", "many", "line 3: recorded 'many' is not a number"),
        ("386554:10197", "386554", "line 3: run:fill '386554' is not two integers"),
        ("2:2", "1:1", "line 4: lumi section 1 comes after 1"),
        ("10/03/24", "2024-10-03", "line 3: time '2024-10-03 20:54:36' is not as in"),
        ("recorded(/fb)", "recorded(/ab)", "line 2: unknown unit '/ab'"),
        ("avgpu", "pu", "line 2: the columns are"),
        (HEADER, "", "line 2: data before the header"),
        (ROW.format(ls=1) + ROW.format(ls=2), "", "holds no lumi sections"),
        (
            ROW.format(ls=2),
            ROW.format(ls=2).replace("386554", "386555"),
            "line 4: run 386555 after run 386554",
        ),
    ],
)
def test_a_fault_is_one_line_that_names_the_place(written, old, new, message):
    with pytest.raises(UserError) as fault:
        read_fill(written(TEXT.replace(old, new)))
    assert message in str(fault.value)
    assert "\n" not in str(fault.value)
    assert "fill.csv" in str(fault.value)


def test_a_file_that_is_absent_or_no_text_is_one_line(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        read_fill(tmp_path / "no.csv")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(UserError, match="is not text"):
        read_fill(tmp_path / "bytes")


@pytest.mark.parametrize(
    ("name", "sections", "bunches"),
    [
        # Collisions in CMS of the LHC's filling schemes 25ns_2352b_2340 of 2024 and 25ns_2460b_2448 of 2025.
        ("381148", 292, 2340),
        ("386554", 1311, 2340),
        ("392642", 1941, 2448),
        ("396102", 787, 2448),
    ],
)
def test_real_fills(shared, name, sections, bunches):
    fill = read_fill(shared / "real" / "fills" / f"brilcalc_run{name}.csv")
    assert len(fill) == sections
    assert colliding_bunches(fill) == pytest.approx(bunches, abs=1)
