"""The shifter's page in a real browser: live, legible, honest about what is old, and commands on it."""

import json
import shutil
import time

import pytest

from axo.controllers.interface import ControllerConfig, SeedConfig
from axo.rate_monitor.config import HttpConfig
from axo.rate_monitor.http import Server
from tests.rate_monitor.plant import CONTROL, closed_loop, record, service_config, wait_for

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
By = pytest.importorskip("selenium.webdriver.common.by").By
Keys = pytest.importorskip("selenium.webdriver.common.keys").Keys

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
)
TOKEN = "a-token-for-tests-only"
LOOP = closed_loop([60.0] * 40)
NOMINAL, TIGHT = (seed.name for seed in CONTROL.seeds)
WORDS = {seed.name: seed.initial_word for seed in CONTROL.seeds}


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("chromium and chromedriver are not installed (apt-get install chromium chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('browser')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    one = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    one.set_page_load_timeout(30)
    yield one
    one.quit()


class Page:
    """The page of a service, open in the browser."""

    def __init__(self, browser, service, folder, port=0):
        self.browser = browser
        self.service = service
        self.folder = folder
        self.server = Server(service.service, HttpConfig(port=port), TOKEN)
        self.server.start()

    def open(self, theme="light", size=(1280, 800)):
        self.resize(size)
        self.browser.get(f"{self.server.address}/?theme={theme}")
        return self

    def resize(self, size):
        """Make the inside of the window `size`."""
        self.browser.set_window_size(*size)
        inner = self.run("return [innerWidth, innerHeight]")
        outer = [2 * wanted - got for wanted, got in zip(size, inner, strict=True)]
        self.browser.set_window_size(*outer)

    def run(self, script, *arguments):
        return self.browser.execute_script(script, *arguments)

    def find(self, selector):
        return self.browser.find_element(By.CSS_SELECTOR, selector)

    def text(self, selector):
        return self.run("return document.querySelector(arguments[0])?.textContent ?? ''", selector)

    def until(self, selector, wanted):
        wait_for(lambda: wanted in self.text(selector), f"{wanted!r} in {selector} ({self.text(selector)!r})")

    def style(self, selector, name):
        script = (
            "return getComputedStyle(document.querySelector(arguments[0])).getPropertyValue(arguments[1])"
        )
        return self.run(script, selector, name)

    def write(self, *lines):
        with (self.folder / "records.jsonl").open("a") as file:
            file.writelines(line + "\n" for line in lines)

    def command(self, name, token=TOKEN, word=None, comment=""):
        """Press a command's button and send its dialog."""
        self.find(f'[data-command="{name}"]').click()
        if word is not None:
            self.find("#word").clear()
            self.find("#word").send_keys(str(word))
        self.fill("#by", "a shifter")
        self.fill("#comment", comment)
        self.fill("#token", token)
        self.find("#send").click()

    def fill(self, selector, text):
        self.find(selector).clear()
        self.find(selector).send_keys(text)

    def dialog_open(self):
        return self.run("return document.querySelector('#command').open")

    def complaints(self):
        """What the browser logged, less that a refused or lost request was one."""
        lines = [entry["message"] for entry in self.browser.get_log("browser")]
        return [line for line in lines if "Failed to load resource" not in line and "ERR_" not in line]


@pytest.fixture
def page(browser, tmp_path, running):
    """Opens the page of a service that has decided the first 30 lumi sections."""
    pages = []

    def start(lines=LOOP.lines[:30], **changes):
        (tmp_path / "records.jsonl").write_text("".join(line + "\n" for line in lines))
        service = running(service_config(tmp_path, **changes))
        if lines:
            service.until_decided(json.loads(lines[-1])["lumi_section"])
        pages.append(Page(browser, service, tmp_path))
        return pages[-1]

    yield start
    for one in pages:
        one.server.stop()
    complaints = [line for one in pages for line in one.complaints()]
    browser.get("about:blank")
    assert not complaints


def test_it_shows_what_was_decided_and_goes_on_without_reload(page):
    one = page().open()
    one.until("#lumi-section", "30")
    one.run("window.notReloaded = true")
    assert one.text("#state") == "Steering" and one.text("#run") == "1" and one.text("#pileup") == "60.0"
    tile = one.text(f'.seed[data-seed="{NOMINAL}"]')
    rate_hz = one.service.service.board.history(NOMINAL)[-1][5]
    assert f"{rate_hz:.0f} Hz" in tile and "1000 Hz" in tile and str(LOOP.words[29][NOMINAL]) in tile
    assert "in band" in tile and "40 %" in tile
    assert str(LOOP.words[29][NOMINAL]) in one.text("#log tbody tr")
    one.write(*LOOP.lines[30:33])
    one.until("#lumi-section", "33")
    one.until("#log tbody tr", str(LOOP.words[32][NOMINAL]))
    assert one.run("return window.notReloaded")


def test_the_charts_show_every_lumi_section_and_can_be_read_by_keyboard(page):
    one = page().open()
    one.until("#lumi-section", "30")
    titles = one.run(
        "return [...document.querySelectorAll('#charts .title')].map((text) => text.textContent)"
    )
    assert [title.split()[0] for title in titles] == ["Rate", "Threshold", "Pileup", "Pure"]
    path = one.run("return document.querySelector('#charts .line').getAttribute('d')")
    assert path.count("L") == 29
    assert "in band in" in one.find("#charts svg").get_attribute("aria-label")
    charts = one.find("#charts")
    charts.send_keys(Keys.HOME)
    one.until("#reading", "lumi section 1 ")
    charts.send_keys(Keys.ARROW_RIGHT)
    one.until("#reading", "lumi section 2 ")


def test_a_missing_lumi_section_and_an_unknown_rate_are_gaps(page):
    lines = [line for line in LOOP.lines[:30] if json.loads(line)["lumi_section"] not in (10, 11)]
    bad = json.loads(LOOP.lines[19])
    bad["seeds"][0]["passed"] = None
    lines[17] = json.dumps(bad)
    one = page(lines).open()
    one.until("#lumi-section", "30")
    path = one.run("return document.querySelector('#charts .line').getAttribute('d')")
    assert path.count("M") == 3


def luminance(colour):
    """Relative luminance of a CSS rgb colour (WCAG 2.1)."""
    parts = [float(part) / 255 for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one, selector, ground):
    bright, dark = sorted(
        (luminance(one.style(selector, "color")), luminance(one.style(ground, "background-color"))),
        reverse=True,
    )
    return (bright + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", [(1280, 800), (1920, 1080)])
def test_it_is_legible_from_two_metres_in_both_themes(page, theme, size):
    """At 2 m an eye reads letters 2.9 mm high (5 arc minutes): the x-height of a 24 px font at 96 dpi."""
    one = page().open(theme, size)
    one.until("#lumi-section", "30")
    dark = luminance(one.style("body", "background-color")) < 0.2
    assert dark == (theme == "dark")
    for selector, least_px in (
        (".seed .rate", 56),
        (".seed .off", 28),
        ("#state", 26),
        ("#facts dd", 24),
        (".seed .line b", 24),
    ):
        assert float(one.style(selector, "font-size")[:-2]) >= least_px, selector
    for selector, ground in (
        (".seed .rate", ".seed"),
        (".seed .line", ".seed"),
        (".seed .off", ".seed"),
        (".seed .mode", ".seed .mode"),
        ("#state", "#state"),
        ("#facts dt", "header"),
        ("#log td", "#log"),
        ("#about", "header"),
    ):
        assert contrast(one, selector, ground) >= 4.5, selector
    assert one.run("return document.documentElement.scrollWidth <= innerWidth")
    assert one.run("return document.documentElement.scrollHeight <= innerHeight")
    cut = one.run(
        "return [...document.querySelectorAll('.seed span, #facts dd, #state, button')]"
        ".filter((one) => getComputedStyle(one).display !== 'inline')"
        ".filter((one) => one.scrollWidth > one.clientWidth + 1)"
        ".map((one) => one.textContent)"
    )
    assert cut == []


def test_the_theme_is_kept(page):
    one = page().open("light")
    one.find("#theme").click()
    one.browser.get(one.server.address)
    assert luminance(one.style("body", "background-color")) < 0.2


def test_alarms_are_shown_and_go_when_they_are_over(page):
    one = page().open()
    one.until("#lumi-section", "30")
    assert not one.find("#alarms").is_displayed()
    one.write("{broken")
    one.until("#alarms", "is not JSON")
    assert one.find("#alarms").is_displayed()
    one.until("#log tbody tr", "is not JSON")
    one.write(LOOP.lines[30])
    wait_for(lambda: not one.find("#alarms").is_displayed(), "the alarm to go")


def test_old_numbers_do_not_look_like_new_ones(page):
    one = page(stale_after_s=1.0).open()
    one.until("#state", "Records stopped")
    assert one.run("return document.body.dataset.fresh") == "stale"
    assert float(one.style(".seed .rate", "opacity")) < 0.5
    assert "thresholds are held" in one.text("#alarms")
    assert one.browser.title.startswith("▲")


def test_a_page_without_its_service_says_so_and_comes_back(page, browser):
    one = page().open()
    one.until("#lumi-section", "30")
    port = one.server.server_address[1]
    one.server.stop()
    one.until("#state", "No connection")
    assert "lost the service" in one.text("#alarms")
    assert float(one.style(".seed .rate", "opacity")) < 0.5
    back = Page(browser, one.service, one.folder, port)
    one.write(LOOP.lines[30])
    one.until("#lumi-section", "31")
    assert one.run("return document.body.dataset.fresh") == "live"
    rows = one.run("return document.querySelector('#charts .line').getAttribute('d').split('L').length")
    assert rows == 31
    back.server.stop()


def test_a_person_sets_holds_and_returns_and_the_journal_says_who(page):
    one = page().open()
    one.until("#lumi-section", "30")
    one.find(f'.seed[data-seed="{TIGHT}"]').click()
    one.until("#fill-title", TIGHT)
    one.command("manual", token="wrong", word=30000)
    one.until("#refusal", "token is wrong")
    assert one.dialog_open()
    one.fill("#token", TOKEN)
    one.fill("#comment", "<b>hot</b> tower")
    one.find("#send").click()
    wait_for(lambda: not one.dialog_open(), "the command")
    one.until("#mode", "Set by hand")
    one.until("#state", "Steering 1 of 2")
    assert "30000" in one.text(f'.seed[data-seed="{TIGHT}"]') and "MANUAL" in one.text(
        f'.seed[data-seed="{TIGHT}"]'
    )
    one.until("#log tbody tr.person", f"a shifter set {TIGHT} to 30000 (<b>hot</b> tower)")
    out = json.loads((one.folder / "thresholds.json").read_text())
    assert out["threshold_words"][TIGHT] == 30000
    # The token is known now, in this tab.
    one.command("auto")
    one.until("#mode", "Auto")
    one.command("hold-all")
    one.until("#state", "Held by hand")


def test_a_word_beyond_limits_is_not_sent(page):
    one = page().open()
    one.until("#lumi-section", "30")
    number = one.service.service.board.log()[-1]["number"]
    one.command("manual", word=50000)
    assert one.dialog_open() and not one.run("return document.querySelector('#word').validity.valid")
    one.find("#cancel").click()
    assert not one.dialog_open()
    time.sleep(0.3)
    assert one.service.service.board.log()[-1]["number"] == number


def test_a_proposal_waits_for_a_click(page):
    one = page([record(1, WORDS), record(2, WORDS)], mode="confirm").open()
    one.until("#state", "Confirming")
    one.until("#proposal", "Proposed after lumi section 2")
    proposal = one.service.service.board.snapshot()["proposal"]
    assert str(proposal["threshold_words"][NOMINAL]) in one.text("#proposal p")
    assert not (one.folder / "thresholds.json").exists()
    one.command("accept")
    wait_for(lambda: (one.folder / "thresholds.json").exists(), "the publication")
    out = json.loads((one.folder / "thresholds.json").read_text())
    assert out["threshold_words"] == proposal["threshold_words"]
    wait_for(lambda: not one.find("#proposal").is_displayed(), "the proposal to go")


def test_a_dry_run_says_that_it_is_one(page):
    one = page(mode="dry-run").open()
    one.until("#state", "Dry run")


def test_names_are_text_never_markup_and_fifty_seeds_fit(page):
    seeds = [SeedConfig(f"<img src=x onerror=alert(1)>_{number}", 1.0, 20000) for number in range(50)]
    words = {seed.name: 20000 for seed in seeds}
    lines = [record(section, words) for section in (1, 2, 3)]
    one = page(lines, control=ControllerConfig(tuple(seeds)), controller="fixed").open()
    one.until("#lumi-section", "3")
    wait_for(lambda: one.run("return document.querySelectorAll('.seed').length") == 50, "the seeds")
    assert one.run("return document.querySelectorAll('img').length") == 0
    # The alarm that all of them have is one line, and every tile is as high as what is in it.
    one.until("#alarms", "and 47 more")
    assert one.run("return document.querySelectorAll('#alarms li').length") == 1
    script = (
        "return [...document.querySelectorAll('.seed')].filter((one) => one.scrollHeight > one.clientHeight)"
    )
    assert one.run(script) == []
    assert one.run("return document.documentElement.scrollWidth <= innerWidth")


def test_nothing_comes_from_elsewhere(page):
    one = page().open()
    one.until("#lumi-section", "30")
    names = one.run("return performance.getEntriesByType('resource').map((entry) => entry.name)")
    assert names and all(name.startswith(one.server.address) for name in names)


def test_every_control_has_a_name_and_can_be_reached_by_keyboard(page):
    one = page().open()
    one.until("#lumi-section", "30")
    unnamed = one.run(
        "return [...document.querySelectorAll('button, input')]"
        ".filter((one) => !(one.textContent.trim() || one.ariaLabel || one.labels?.length)).length"
    )
    assert unnamed == 0
    reached = set()
    for _ in range(40):
        one.browser.switch_to.active_element.send_keys(Keys.TAB)
        script = "const at = document.activeElement; return at.id || at.dataset.command || at.dataset.seed"
        reached.add(one.run(script))
    assert {
        "theme",
        "charts",
        "hold",
        "manual",
        "auto",
        "hold-all",
        "changes-only",
        NOMINAL,
        TIGHT,
    } <= reached
