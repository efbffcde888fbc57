"""The docs page in a real browser: headless Chromium, driven through chromedriver."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from runner.project.load import load_project
from runner.tools.docs.page import docs_page, write_page
from tests.support import AS_OF, ROOT, tiny_project
from tests.tools.test_docs_page import manifest

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
PHONE = (360, 740)
DESK = (1280, 900)

CONTRASTS = """
const parse = (text) => text.match(/[\\d.]+/g).map(Number);
const light = ([r, g, b]) => [r, g, b].map((one) => one / 255)
  .map((one) => one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4)
  .reduce((sum, one, index) => sum + one * [0.2126, 0.7152, 0.0722][index], 0);
const back = (element) => {
  for (let one = element; one; one = one.parentElement) {
    const color = parse(getComputedStyle(one).backgroundColor);
    if (color.length < 4 || color[3] > 0) return color;
  }
};
const low = [];
for (const one of document.querySelectorAll("body *:not(svg):not(svg *):not(script):not(style)")) {
  const has_text = [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
  if (!has_text || !one.getClientRects().length) continue;
  const pair = [light(parse(getComputedStyle(one).color)), light(back(one))].sort((a, b) => b - a);
  const contrast = (pair[0] + 0.05) / (pair[1] + 0.05);
  if (contrast < 4.5) low.push(`${one.tagName}.${one.className} ${contrast.toFixed(2)}`);
}
return [...new Set(low)];
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    names = ("chromium", "chromium-browser", "google-chrome")
    binary = next((found for name in names if (found := shutil.which(name))), None)
    driver = shutil.which("chromedriver")
    if binary is None or driver is None:
        pytest.skip("no chromium and chromedriver here (Debian: chromium, chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    service = Service(driver, env={**os.environ, "SE_OFFLINE": "true"})
    running = webdriver.Chrome(options=options, service=service)
    yield running
    running.quit()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of the shipped project, with two past runs and a file that is none."""
    folder = tmp_path_factory.mktemp("page")
    manifest(folder)
    manifest(folder, 1, status="partial")
    (folder / "layer3-behavior_x.json").write_text("[]")
    write_page(docs_page(load_project(ROOT), folder, AS_OF).html, folder / "page.html")
    return folder / "page.html"


@pytest.fixture
def opened(browser: webdriver.Chrome, page: Path) -> webdriver.Chrome:
    return show(browser, page)


def show(
    browser: webdriver.Chrome, page: Path, size: tuple[int, int] = DESK, scheme: str = "light"
) -> webdriver.Chrome:
    """The page anew, in a window of that size and a colour scheme; logs start here."""
    browser.get("about:blank")
    browser.get_log("performance")  # type: ignore[no-untyped-call]
    browser.get_log("browser")  # type: ignore[no-untyped-call]
    metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": size == PHONE}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    browser.get(page.as_uri())
    return browser


def requests(browser: webdriver.Chrome) -> list[str]:
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]  # type: ignore[no-untyped-call]
    return [
        event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
    ]


def script(browser: webdriver.Chrome, text: str, *arguments: Any) -> Any:
    return browser.execute_script(text, *arguments)  # type: ignore[no-untyped-call]


def visible_models(browser: webdriver.Chrome) -> list[str]:
    found = browser.find_elements(By.CSS_SELECTOR, "article.model:not([hidden]) h3")
    return [one.text for one in found]


def test_it_loads_nothing_but_itself_and_the_console_is_silent(
    browser: webdriver.Chrome, page: Path
) -> None:
    show(browser, page)
    script(browser, "document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert [url for url in requests(browser) if not url.startswith("data:")] == [page.as_uri()]
    assert browser.get_log("browser") == []  # type: ignore[no-untyped-call]


def test_it_is_smaller_than_2_megabytes(page: Path) -> None:
    assert page.stat().st_size < 2_000_000


def test_each_box_of_the_picture_leads_to_its_section(opened: webdriver.Chrome) -> None:
    nodes = opened.find_elements(By.CSS_SELECTOR, "a.node")
    assert len(nodes) == 51 + 14 + 10
    for node in nodes:
        label = script(opened, "return arguments[0].querySelector('text').textContent", node)
        click = (
            "arguments[0].dispatchEvent(new MouseEvent('click', {bubbles: true, cancelable: true}))"
        )
        script(opened, click, node)
        target = opened.find_element(By.CSS_SELECTOR, ":target")
        assert label.removesuffix(".csv") in target.text, label
        top = script(opened, "return arguments[0].getBoundingClientRect().top", target)
        assert 0 <= top < DESK[1], label


def test_boxes_do_not_overlap_and_labels_fit_in_them(opened: webdriver.Chrome) -> None:
    boxes = script(
        opened,
        "return [...document.querySelectorAll('a.node')].map((node) => {"
        "  const {x, y, width, height} = node.querySelector('rect').getBBox();"
        "  return [x, y, x + width, y + height, node.querySelector('text').getBBox().width, width];"
        "})",
    )
    for index, one in enumerate(boxes):
        assert one[4] < one[5]
        for other in boxes[:index]:
            apart = (
                one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
            )
            assert apart  # fmt: skip


def test_a_real_click_on_a_box_goes_there(opened: webdriver.Chrome) -> None:
    node = opened.find_element(By.CSS_SELECTOR, "a.node[data-key='model.layer3_prioritized']")
    ActionChains(opened).move_to_element(node).click().perform()
    assert opened.find_element(By.CSS_SELECTOR, ":target").get_attribute("id") == (
        "model.layer3_prioritized"
    )


def press(browser: webdriver.Chrome, key: str) -> str:
    """Press a key; the class of what has the focus then."""
    ActionChains(browser).send_keys(key).perform()
    return str(script(browser, "return document.activeElement.getAttribute('class')"))


def test_the_first_key_offers_to_skip_to_the_content(opened: webdriver.Chrome) -> None:
    assert press(opened, Keys.TAB) == "skip"
    assert opened.find_element(By.CLASS_NAME, "skip").rect["y"] >= 0
    press(opened, Keys.ENTER)
    assert script(opened, "return document.activeElement.id") == "content"


def test_the_keyboard_reaches_a_box_and_follows_it(opened: webdriver.Chrome) -> None:
    for _ in range(60):
        if press(opened, Keys.TAB).startswith("node"):
            break
    key = script(opened, "return document.activeElement.dataset.key")
    assert key == "source.marketplace.users"
    outline = "return getComputedStyle(document.activeElement.querySelector('rect')).strokeWidth"
    assert script(opened, outline) == "4px"
    press(opened, Keys.ENTER)
    assert opened.find_element(By.CSS_SELECTOR, ":target").get_attribute("id") == key


def test_a_box_in_focus_marks_all_that_it_rests_on_and_nothing_else(
    opened: webdriver.Chrome,
) -> None:
    marked = (
        "return [...document.querySelectorAll('path.arrow.on')].map((one) => one.dataset.start)"
    )
    focus = (
        "document.querySelector(`a.node[data-key='${arguments[0]}']`).focus({preventScroll: true})"
    )
    script(opened, focus, "model.stg_attributes")
    found = set(script(opened, marked))
    assert {
        "source.marketplace.attributes",
        "model.stg_attributes",
        "model.layer3_enriched",
    } <= found
    assert "source.marketplace.users" not in found
    script(opened, "document.activeElement.blur()")
    assert script(opened, marked) == []


def test_the_filter_shows_the_models_that_have_all_words(opened: webdriver.Chrome) -> None:
    field = opened.find_element(By.ID, "filter")
    field.send_keys("Attribute_VALUES stg")
    shown = visible_models(opened)
    assert "stg_attribute_values" in shown
    assert "layer3_candidates" not in shown
    assert opened.find_element(By.ID, "found").text == f"{len(shown)} of 51"
    listed = opened.find_elements(By.CSS_SELECTOR, ".list li:not([hidden])")
    assert len(listed) == len(shown)
    field.send_keys(" qqqq")
    assert visible_models(opened) == []
    assert opened.find_element(By.ID, "nothing-found").is_displayed()


def test_a_link_to_a_model_that_the_filter_hides_shows_it(opened: webdriver.Chrome) -> None:
    opened.find_element(By.ID, "filter").send_keys("qqqq")
    script(opened, "location.hash = '#model.layer3_profiles'")
    assert opened.find_element(By.ID, "model.layer3_profiles").is_displayed()
    assert len(visible_models(opened)) == 51


def test_a_link_to_a_file_opens_it(opened: webdriver.Chrome) -> None:
    script(opened, "location.hash = '#file.layer3-behavior.recent-wishlist-adders'")
    assert "lastActive" in opened.find_element(By.CSS_SELECTOR, "details:target").text


def test_without_scripts_everything_is_there_and_no_dead_filter(
    browser: webdriver.Chrome, page: Path
) -> None:
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        show(browser, page)
        assert not browser.find_element(By.ID, "filter-box").is_displayed()
        assert len(visible_models(browser)) == 51
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_on_a_phone_nothing_sticks_out_sideways(browser: webdriver.Chrome, page: Path) -> None:
    show(browser, page, size=PHONE)
    script(browser, "document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert script(browser, "return document.documentElement.scrollWidth") == PHONE[0]
    assert script(browser, "return innerWidth") == PHONE[0]


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(
    browser: webdriver.Chrome, page: Path, scheme: str, size: tuple[int, int]
) -> None:
    """WCAG AA: a contrast of 4.5, whatever the text's size."""
    show(browser, page, size=size, scheme=scheme)
    script(browser, "document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert script(browser, CONTRASTS) == []


def test_dark_mode_is_dark(browser: webdriver.Chrome, page: Path) -> None:
    ground = "return getComputedStyle(document.body).backgroundColor"
    assert script(show(browser, page), ground) == "rgb(246, 247, 248)"
    assert script(show(browser, page, scheme="dark"), ground) == "rgb(17, 20, 26)"


def test_on_paper_it_is_light_whatever_the_scheme(browser: webdriver.Chrome, page: Path) -> None:
    show(browser, page, scheme="dark")
    features = [{"name": "prefers-color-scheme", "value": "dark"}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print", "features": features})
    try:
        assert script(browser, CONTRASTS) == []
        ground = "return getComputedStyle(document.body).backgroundColor"
        assert script(browser, ground) == "rgb(255, 255, 255)"
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


def test_what_the_project_says_does_not_run(browser: webdriver.Chrome, tmp_path: Path) -> None:
    bad = (
        "<script>document.title = 'broken'</script><img src=x onerror=\"document.title='broken'\">"
    )
    project = tiny_project(tmp_path / "p", people=f"-- {bad}\nselect 1 as user_id, 'x' as name")
    described = {"models": [{"name": "people", "description": bad}]}
    (project / "models" / "more.yml").write_text(json.dumps(described))
    target = tmp_path / "page.html"
    write_page(docs_page(load_project(project), tmp_path, AS_OF).html, target)
    show(browser, target)
    assert browser.title == "Audiences"
    assert bad in browser.find_element(By.ID, "model.people").text
    assert browser.get_log("browser") == []  # type: ignore[no-untyped-call]


def test_even_markup_that_slipped_through_would_not_run(
    browser: webdriver.Chrome, page: Path, tmp_path: Path
) -> None:
    """The page's own policy is a second wall behind the escaping."""
    bad = (
        "<script>document.title = 'broken'</script><img src=x onerror=\"document.title='broken'\">"
    )
    target = tmp_path / "page.html"
    target.write_text(page.read_text().replace("<footer", f"{bad}<footer"))
    show(browser, target)
    assert browser.title == "Audiences"
