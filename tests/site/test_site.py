"""The gallery in a real browser, over file://: `make test-site` (chromium and its driver)."""

import json
import shutil
import urllib.parse
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from axe_core_python.selenium import Axe
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.ui import WebDriverWait

from common.ingredients.attacks import loss_gradient, probabilities, project
from common.ingredients.pictures import photographs, squares
from common.ingredients.squeezenet import pretrained
from recipes.attack import fgsm_imagenet
from recipes.cost import slowdown
from tools import attacked, catalog, site

PHONE, PROJECTOR = (390, 844), (1280, 720)
PLAY = ("neuron", "softmax", "ravine", "depth", "fgsm")
MOST_BYTES = 25e6
SHOTS = catalog.ROOT / "results" / "site-screenshots"  # to be looked at


@pytest.fixture(scope="session")
def built(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("gallery") / "site"
    assert site.main([str(folder)]) == 0
    return folder


@pytest.fixture(scope="session")
def pages(built) -> list[Path]:
    return sorted(built.rglob("*.html"))


@pytest.fixture(scope="session")
def browser():
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for flag in ("headless=new", "no-sandbox", "disable-gpu", "hide-scrollbars"):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options, Service(shutil.which("chromedriver")))
    yield driver
    driver.quit()


def show(browser, page: Path | str, size=PROJECTOR, dark=False):
    """Opens a page as it looks on a screen of that size."""
    width, height = size
    screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": size == PHONE}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    browser.get(page if isinstance(page, str) else page.as_uri())


def until(browser, script: str, *arguments):
    """What a script returns once that is neither null nor empty."""
    return WebDriverWait(browser, 20).until(lambda b: b.execute_script(script, *arguments))


def draw_curves(browser) -> None:
    """Brings the curves of the open tab into view, and waits until they are drawn."""
    box = 'document.querySelector(".sd-tab-content .curves")'
    browser.execute_script(f"{box}.scrollIntoView()")
    until(browser, f"return {box}.dataset.drawn")


# --- files


class Links(HTMLParser):
    """What a page refers to, where it may be referred to, and its pictures."""

    def __init__(self, page: Path):
        super().__init__()
        self.targets, self.ids, self.pictures = [], set(), []
        self.feed(page.read_text())

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.ids |= {found[key] for key in ("id", "name") if found.get(key)}
        self.targets += [found[key] for key in ("href", "src") if found.get(key)]
        if tag == "img":
            self.pictures.append(found)


def test_every_link_and_anchor_resolves_and_every_picture_is_described(pages):
    read = {page.resolve(): Links(page) for page in pages}
    broken = []
    for page, links in read.items():
        for target in links.targets:
            where = urllib.parse.urlsplit(target)
            if where.scheme or target.startswith("#!"):
                continue  # other sites are linked to, never loaded: see below
            file = (
                (page.parent / urllib.parse.unquote(where.path)).resolve() if where.path else page
            )
            anchored = read.get(file)
            if not file.exists() or (
                where.fragment and anchored and where.fragment not in anchored.ids
            ):
                broken.append(f"{page.name}: {target}")
        broken += [
            f"{page.name}: {one} has no text" for one in links.pictures if not one.get("alt")
        ]
    assert len(read) > 60
    assert not broken


def test_every_recipe_has_its_page_its_copy_and_its_notebook(built):
    for name in catalog.recipes():
        text = (built / "recipes" / f"{name}.html").read_text()
        assert f"<h1>{catalog.target(name)}<" in text
        assert 'id="train-' in text
        compile((built / "copies" / f"{name}.py").read_text(), name, "exec")
        json.loads((built / "copies" / f"{name}.ipynb").read_text())
        if site.mode(name) == "inverts":
            assert (built / "slides" / f"{name}.svg").read_text().startswith("<?xml")


def test_a_page_that_github_publishes_opens_in_colab(monkeypatch):
    monkeypatch.delenv("GITHUB_REPOSITORY", raising=False)
    assert "colab" not in site.buttons("dropout", [])
    monkeypatch.setenv("GITHUB_REPOSITORY", "someone/recipes")
    link = "https://colab.research.google.com/github/someone/recipes/blob/notebooks/dropout.ipynb"
    assert f'<a href="{link}">Open in Colab</a>' in site.buttons("dropout", [])


def test_it_is_small(built):
    size = sum(file.stat().st_size for file in built.rglob("*") if file.is_file())
    assert 5e6 < size < MOST_BYTES


def test_another_folder_is_not_overwritten(tmp_path, capsys):
    (tmp_path / "mine.txt").touch()
    assert site.main([str(tmp_path)]) == 2
    assert site.main(["a", "b"]) == 2
    said = capsys.readouterr().err.splitlines()
    assert ["expected" in line and "received" in line for line in said] == [True, True]
    assert (tmp_path / "mine.txt").exists()


def test_a_thinned_series_has_its_full_length_again():
    content = catalog.records("overfitting")[0]
    full = site.whole(content)["arms"]["plain"]
    series, places = "test cost", content["history_index"]["400"]
    assert [len(one) for one in full["history"][series]] == [400] * len(full["seeds"])
    for long, thin in zip(
        full["history"][series], content["arms"]["plain"]["history"][series], strict=True
    ):
        np.testing.assert_array_equal(np.array(long)[places], thin)


# --- pages


def test_pages_open_on_a_phone(browser, pages):
    """Without errors, without a request that leaves the disk, and without scrolling sideways."""
    faults, loaded = [], set()
    for page in pages:
        show(browser, page, PHONE)
        width = browser.execute_script("return document.documentElement.scrollWidth")
        faults += [f"{page.name}: {width} pixels wide"] * (width > PHONE[0])
        faults += [f"{page.name}: {entry['message']}" for entry in browser.get_log("browser")]
        for entry in browser.get_log("performance"):
            event = json.loads(entry["message"])["message"]
            if event["method"] == "Network.requestWillBeSent":
                loaded.add(event["params"]["request"]["url"])
    assert not faults
    assert len(loaded) > len(pages)
    assert {urllib.parse.urlsplit(one).scheme for one in loaded} <= {"file", "data", "blob"}


@pytest.mark.parametrize("name", catalog.recipes())
def test_curves_have_a_line_for_each_seed_and_a_mean_for_each_arm(browser, built, name):
    content = catalog.records(name)[0]
    history = {arm: found["history"] for arm, found in content["arms"].items() if found["history"]}
    show(browser, built / "recipes" / f"{name}.html")
    if not history:
        assert not browser.execute_script("return document.querySelector('.curves')")
        return
    draw_curves(browser)
    first = next(iter(next(iter(history.values()))))
    own = {arm: found[first] for arm, found in history.items() if first in found}
    drawn = browser.execute_script(
        "return document.querySelectorAll('.sd-tab-content .curves')[0]"
        ".querySelectorAll('.drawn g.mark-line path').length"
    )
    expected = sum(any(y is not None for y in one) for seeds in own.values() for one in seeds)
    assert drawn == expected + len(own)
    assert not browser.get_log("browser")


def test_arms_series_and_axes_are_switched(browser, built):
    show(browser, built / "recipes" / "dropout.html")
    draw_curves(browser)
    box = 'document.querySelector(".curves")'

    def lines() -> int:
        return browser.execute_script(
            f"return {box}.querySelectorAll('.drawn g.mark-line path').length"
        )

    before = lines()
    browser.execute_script(f"{box}.querySelector('[type=checkbox]').click()")
    until(browser, f"return !{box}.dataset.drawn.includes('plain')")
    assert lines() == before * 2 // 3
    browser.execute_script(f"{box}.querySelectorAll('[type=radio]')[1].click()")
    until(browser, f"return {box}.dataset.drawn.startsWith('test cost')")
    browser.execute_script(
        f"{box}.querySelectorAll('fieldset')[2].querySelectorAll('input')[1].click()"
    )
    until(browser, f"return {box}.querySelector('[aria-label*=\"log scale\"]')")
    assert not browser.get_log("browser")


def test_printed_points_stand_in_the_curves(browser, built):
    show(browser, built / "recipes" / "overfitting.html")
    draw_curves(browser)
    box = 'document.querySelector(".curves")'
    browser.execute_script(f"{box}.querySelectorAll('[type=radio]')[3].click()")
    until(browser, f"return {box}.dataset.drawn.startsWith('test accuracy')")
    points = f"return {box}.querySelectorAll('.drawn g.mark-symbol.layer_2_marks path').length"
    assert browser.execute_script(points) == 4


def test_the_table_of_printed_figures_is_sorted_by_a_click(browser, built):
    show(browser, built / "printed.html")
    values = (
        "return [...document.querySelectorAll('tbody tr')]"
        ".map(row => Number(row.cells[2].firstChild.dataset.value))"
    )
    before = browser.execute_script(values)
    assert len(before) == sum(
        len(catalog.printed(c)) for n in catalog.recipes() for c in catalog.records(n)
    )
    for expected in (sorted(before), sorted(before, reverse=True)):
        browser.execute_script("document.querySelectorAll('thead button')[2].click()")
        assert browser.execute_script(values) == expected


def test_a_word_is_found(browser, built):
    show(browser, (built / "search.html").as_uri() + "?q=ravine")
    found = (  # results appear one after the other
        "return [...document.querySelectorAll('ul.search li a')]"
        ".some(link => link.href.endsWith('recipes/optimizers.html'))"
    )
    assert until(browser, found)


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize(
    "page",
    ["index", "printed", "recipes/dropout", "recipes/fgsm", *(f"play/{one}" for one in PLAY)],
)
def test_accessibility(browser, built, page, dark):
    show(browser, built / f"{page}.html", dark=dark)
    if page == "recipes/dropout":
        draw_curves(browser)
    found = Axe().run(browser)["violations"]
    serious = [one for one in found if one["impact"] in ("serious", "critical")]
    assert not [(one["id"], [node["html"][:150] for node in one["nodes"][:3]]) for one in serious]


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize(
    "page", ["index", "recipes/dropout", "recipes/glorot_vs_he", "recipes/fgsm"]
)
def test_pictures_of_pages_to_look_at(browser, built, page, dark):
    show(browser, built / f"{page}.html", (1280, 2000), dark)
    if page in ("recipes/dropout", "recipes/glorot_vs_he"):
        draw_curves(browser)
        browser.execute_script("window.scrollTo(0, 0)")
    SHOTS.mkdir(parents=True, exist_ok=True)
    file = SHOTS / f"{Path(page).name}-{'dark' if dark else 'light'}.png"
    assert browser.save_screenshot(str(file))
    background = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    shade = np.mean([int(one) for one in background[4:-1].split(",")])
    assert bool(shade < 60) is dark


# --- to play with


def put(browser, identifier: str, value) -> None:
    """Moves a slider, chooses an option, or ticks a box, as a person's hand tells the page."""
    browser.execute_script(
        "const one = document.getElementById(arguments[0]);"
        "if (one.type === 'checkbox') one.checked = arguments[1]; else one.value = arguments[1];"
        "one.dispatchEvent(new Event('input', {bubbles: true}))",
        identifier,
        value,
    )


def text(browser, selector: str) -> str:
    return browser.execute_script(
        "return document.querySelector(arguments[0]).textContent", selector
    )


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


@pytest.mark.parametrize(
    ("w", "b", "rate", "expected"),
    [(0.6, 0.9, 0.15, 0.0940), (2, 2, 0.15, 0.2028), (-1, 2.5, 0.05, None)],
)
def test_the_neuron(browser, built, w, b, rate, expected):
    show(browser, built / "play" / "neuron.html")
    for name, value in {"n-w": w, "n-b": b, "n-rate": rate}.items():
        put(browser, name, value)
    slopes = {"quadratic": lambda a: a * a * (1 - a), "cross-entropy": lambda a: a}
    for cost, slope in slopes.items():
        weights = np.array([w, b], dtype=float)
        for _ in range(300):
            weights -= rate * slope(sigmoid(weights.sum()))
        shown = float(text(browser, f'[data-after="{cost}"]'))
        assert shown == pytest.approx(sigmoid(weights.sum()), abs=5.1e-5)
    if expected:
        assert float(text(browser, '[data-after="quadratic"]')) == pytest.approx(expected, abs=5e-5)
        recipe = slowdown.AFTER_300_STEPS["quadratic"][list(slowdown.STARTS.values()).index((w, b))]
        assert recipe == expected


@pytest.mark.parametrize("z", [(2, -1, 3.2, 0.5), (0, 0, 0, 0), (5, -5, 4.9, 1.1)])
def test_softmax(browser, built, z):
    show(browser, built / "play" / "softmax.html")
    for i, value in enumerate(z, start=1):
        put(browser, f"z{i}", value)
    shown = browser.execute_script(
        "return [...document.querySelectorAll('text.p')].map(t => Number(t.textContent))"
    )
    np.testing.assert_allclose(shown, np.exp(z) / np.exp(z).sum(), atol=5.1e-4)
    if z[0] == 2:
        assert shown == [0.218, 0.011, 0.723, 0.049]


@pytest.mark.parametrize(
    ("h", "rate", "momentum", "verdict"),
    [(25, 0.07, 0, "converges"), (25, 0.081, 0, "diverges"), (80, 0.04, 0.9, "converges")],
)
def test_the_ravine(browser, built, h, rate, momentum, verdict):
    show(browser, built / "play" / "ravine.html")
    for name, value in {"r-h": h, "r-rate": rate, "r-m": momentum}.items():
        put(browser, name, value)
    place, speed, curvature = np.array([10.0, 1.0]), np.zeros(2), np.array([1, h])
    for _ in range(100):
        speed = momentum * speed - rate * curvature * place
        place = place + speed
    assert float(text(browser, "[data-distance]")) == pytest.approx(np.hypot(*place), rel=1e-3)
    assert float(text(browser, "[data-limit]")) == pytest.approx(2 * (1 + momentum) / h, rel=5e-3)
    assert text(browser, "[data-verdict]") == verdict


def normals(seed: int):
    """The page's random numbers: mulberry32, then Box and Muller."""

    def times(a, b):
        return a * b & 0xFFFFFFFF

    def uniform():
        nonlocal seed
        seed = (seed + 0x6D2B79F5) & 0xFFFFFFFF
        t = times(seed ^ (seed >> 15), 1 | seed)
        t = (t + times(t ^ (t >> 7), 61 | t)) & 0xFFFFFFFF ^ t
        return (t ^ (t >> 14)) / 2**32

    while True:
        radius = np.sqrt(-2 * np.log(1 - uniform()))
        yield radius * np.cos(2 * np.pi * uniform())


@pytest.mark.parametrize(
    ("layers", "init", "activation", "bn"),
    [(20, "Xavier", "ReLU", False), (6, "small", "sigmoid", False), (12, "He", "tanh", True)],
)
def test_the_signal(browser, built, layers, init, activation, bn):
    show(browser, built / "play" / "depth.html")
    for name, value in {"d-l": layers, "d-i": init, "d-a": activation, "d-b": bn}.items():
        put(browser, name, value)
    draw, f = normals(1), {"ReLU": lambda z: np.maximum(0, z), "tanh": np.tanh, "sigmoid": sigmoid}
    stddev = {"small": 0.01, "Xavier": 0.1, "He": np.sqrt(0.02)}[init]
    x = np.array([[next(draw) for _ in range(100)] for _ in range(40)])
    for _ in range(layers):
        z = x @ np.array([[stddev * next(draw) for _ in range(100)] for _ in range(100)]).T
        if bn:
            z = (z - z.mean(axis=0)) / np.sqrt(z.var(axis=0) + 1e-3)
        x = f[activation](z)
    expected = np.sqrt(x.var(axis=0).mean())
    assert float(text(browser, "[data-last]")) == pytest.approx(expected, rel=1e-3)


def test_an_attacked_photograph_gets_the_answers_of_the_net(browser, built):
    """At three epsilons: what the page shows, and what SqueezeNet answers now."""
    show(browser, built / "play" / "fgsm.html")
    until(browser, "return document.querySelectorAll('[data-drawn]').length === 2")
    names = (fgsm_imagenet.BESIDE / "classes.txt").read_text().splitlines()
    x = squares(photographs(fgsm_imagenet.BESIDE)[::-1][:1], 227)
    net = pretrained("SqueezeNet", 227)
    first = probabilities(net, x).argmax(axis=1).astype("int32")
    sign = np.sign(loss_gradient(net, x.shape[1:])(x, first).numpy()).astype("float64")
    for i in (0, 7, 32):
        put(browser, "f-p", i)
        level = attacked.LEVELS["photograph"][i]
        p = probabilities(net, project(x, x + level * sign, level, (0, 255)))[0]
        assert text(browser, "[data-answer]") == f"“{names[p.argmax()]}”, {100 * p.max():.1f} %"
        drawn = browser.execute_script(
            "const c = document.querySelectorAll('canvas')[2]; "
            "return [...c.getContext('2d').getImageData(100, 100, 8, 8).data]"
        )
        moved = np.clip(x + level * sign, 0, 255)[0, 100:108, 100:108]
        shown = np.reshape(drawn, (8, 8, 4))[..., :3]
        assert np.abs(shown - moved).max() <= 1
    assert first[0] != p.argmax()


def test_an_attacked_digit(browser, built):
    show(browser, built / "play" / "fgsm.html")
    until(browser, "return document.querySelectorAll('[data-drawn]').length === 2")
    content = attacked.FILE.read_text().partition(" = ")[2].rstrip(";\n")
    answers = json.loads(content)["digit"]["answers"]
    for i in (0, 8, 16):
        put(browser, "f-d", i)
        shown = text(browser, '[data-picture="digit"] [data-answer]')
        assert shown == f"“{answers[i]['class']}”, {100 * answers[i]['confidence']:.1f} %"
    assert answers[0]["class"] == "7" != answers[16]["class"]
