"""What a person sees and does, in a real browser. Any printed error fails a test."""

import time

import pytest
from playwright.sync_api import BrowserContext, Locator, Page, expect

from dsl.outcome import TrialState
from service.resources import JobState
from tests.browser import seed
from tests.browser.conftest import PATIENCE, Site
from tests.browser.seed import outcome

pytestmark = pytest.mark.browser

DRAWN = """canvas => {
    const {width, height} = canvas;
    const data = canvas.getContext('2d').getImageData(0, 0, width, height).data;
    let marks = 0;
    for (let i = 3; i < data.length; i += 4) if (data[i]) marks++;
    return marks;
}"""


def expect_ink(page: Page, figure: str, pixels: int) -> None:
    """Wait until more than so many pixels of a figure are drawn."""
    canvas = page.locator(f"figure[data-figure={figure}] canvas").first
    expect(canvas).to_be_visible()
    end = time.monotonic() + PATIENCE
    while (marks := canvas.evaluate(DRAWN)) <= pixels:
        assert time.monotonic() < end, f"only {marks} pixels of {figure} are drawn"
        page.wait_for_timeout(50)


def caption(page: Page, figure: str) -> Locator:
    return page.locator(f"figure[data-figure={figure}] [data-summary]")


def test_from_the_list_to_a_job_with_its_figures(context: BrowserContext, site: Site) -> None:
    page = context.new_page()
    page.goto(site.url)
    page.get_by_role("link", name="rules for digits").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("rules for digits")
    expect(page.locator("#summary [role=status]")).to_contain_text("Succeeded")
    expect(caption(page, "history")).to_have_text("The best of 4 so far, 0.3, is trial 2.")
    expect(caption(page, "curves")).to_contain_text("The best trial, 2, ends at 0.31")
    expect_ink(page, "history", 1000)
    expect_ink(page, "curves", 1000)
    log = page.locator(".log li")
    expect(log.first).to_contain_text("The job has succeeded.")
    expect(log.filter(has_text="The search has judged 4 rules.")).to_have_count(1)


def test_the_list_keeps_up_and_keeps_the_focus(context: BrowserContext, site: Site) -> None:
    running = seed.start(site.store, "watched from the list")
    page = context.new_page()
    page.goto(site.url)
    row = page.locator("tr").filter(has_text="watched from the list")
    expect(row).to_contain_text("Running")
    link = page.get_by_role("link", name="watched from the list")
    link.focus()
    running.ask(1)
    running.tell(outcome(0, 0.5))
    expect(row).to_contain_text("1 of 40 trials")
    expect(link).to_be_focused()
    site.store.finish(running.claim, JobState.CANCELLED)
    expect(row).to_contain_text("Cancelled")


def test_a_running_job_is_followed_without_reloading(context: BrowserContext, site: Site) -> None:
    running = seed.start(site.store, "followed")
    running.ask(4)
    page = context.new_page()
    page.goto(site.job(running.job_id))
    page.evaluate("window.kept = true")
    expect(caption(page, "history")).to_have_text("No trial is complete yet.")
    expect(page.locator("figure .u-axis.u-off")).to_have_count(0)
    expect(page.locator("figure[data-figure=curves] .u-axis")).to_have_count(2)
    rows = page.locator("#trials tbody tr")
    expect(rows).to_have_count(4)

    running.tell(outcome(0, 0.5), outcome(1, 0.25), outcome(2, 7.0, state=TrialState.INFEASIBLE))
    expect(page.locator(".figures .large").first).to_have_text("0.2500")
    expect(page.locator("#summary progress")).to_have_attribute("value", "3")
    expect(caption(page, "history")).to_have_text("The best of 3 so far, 0.25, is trial 1.")
    expect(page.locator("#trials")).to_contain_text("diverged")

    running.ask(2)
    running.tell(outcome(4, 0.125))
    expect(caption(page, "history")).to_have_text("The best of 4 so far, 0.125, is trial 4.")
    expect(caption(page, "curves")).to_contain_text("The best trial, 4,")
    site.store.finish(running.claim, JobState.FAILED, "the driver died 3 times")
    expect(page.locator("#summary [role=alert]")).to_contain_text("the driver died 3 times")
    expect(page.locator("#summary [role=status]")).to_contain_text("Failed")
    expect(page.locator(".log li").first).to_contain_text("has failed: the driver died 3 times")
    assert page.evaluate("window.kept") is True


def test_trials_are_sorted_and_filtered_and_the_address_keeps_it(
    context: BrowserContext, site: Site
) -> None:
    page = context.new_page()
    page.goto(site.job(site.discovery))
    first = page.locator("#trials tbody th").first
    expect(first).to_have_text("3")  # the search's newest; the comparison's stand above
    page.locator("#trials").get_by_role("link", name="Validation loss").click()
    expect(first).to_have_text("4")
    expect(page.locator("#trials th[aria-sort=ascending]")).to_contain_text("Validation loss")
    assert "order_by=value" in page.url
    page.locator("#trials").get_by_role("link", name="Validation loss").click()
    expect(first).to_have_text("0")

    box = page.get_by_label("Filter")
    box.fill("value < 0.26 AND stage = comparison")
    box.press("Enter")
    expect(page.locator("#trials tbody tr")).to_have_count(3)
    expect(first).to_have_text("6")
    page.reload()
    expect(page.locator("#trials tbody tr")).to_have_count(3)
    page.go_back()
    expect(page.locator("#trials tbody tr")).to_have_count(9)  # 8 trials, one with its reason
    expect_ink(page, "history", 1000)

    page.get_by_label("Filter").fill("vlue < 1")
    page.get_by_label("Filter").press("Enter")
    expect(page.locator("#trials [role=alert]")).to_contain_text("there is no field 'vlue'")


def test_long_lists_are_turned_page_by_page(context: BrowserContext, site: Site) -> None:
    running = seed.start(site.store, "long")
    running.ask(30)
    site.store.finish(running.claim, JobState.CANCELLED)
    page = context.new_page()
    page.goto(site.job(running.job_id))
    rows = page.locator("#trials tbody tr")
    expect(rows).to_have_count(20)
    page.locator("#trials").get_by_role("link", name="Next page").click()
    expect(rows).to_have_count(10)
    expect(page.locator("#trials tbody th").first).to_have_text("9")
    page.locator("#trials").get_by_role("link", name="First page").click()
    expect(rows).to_have_count(20)


def test_a_job_is_paused_from_its_page(context: BrowserContext, site: Site) -> None:
    running = seed.start(site.store, "paused by hand")
    page = context.new_page()
    page.goto(site.job(running.job_id))
    page.get_by_role("button", name="Pause").click()
    expect(page.locator("#summary [role=status]")).to_contain_text("Pausing")
    site.store.finish(running.claim, JobState.PAUSED)
    expect(page.get_by_role("button", name="Resume")).to_be_visible()
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#summary [role=status]")).to_contain_text("Cancelled")
    expect(page.get_by_role("button", name="Run again")).to_be_visible()


def test_an_ended_job_is_deleted_in_two_steps(context: BrowserContext, site: Site) -> None:
    running = seed.start(site.store, "to be deleted")
    site.store.finish(running.claim, JobState.CANCELLED)
    page = context.new_page()
    page.goto(site.job(running.job_id))
    button = page.get_by_role("button", name="Delete for good")
    expect(button).to_be_hidden()
    page.get_by_text("Delete the job").click()
    button.click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Jobs")
    expect(page.get_by_role("link", name="to be deleted")).to_have_count(0)


def test_a_tune_job_shows_each_searched_number(context: BrowserContext, site: Site) -> None:
    running = seed.start(site.store, "slices")
    running.ask(12)
    running.tell(*(outcome(n, 0.1 + 0.05 * n) for n in range(12)))
    site.store.finish(running.claim, JobState.SUCCEEDED)
    page = context.new_page()
    page.goto(site.job(running.job_id))
    plates = page.locator("figure[data-figure=slices] canvas")
    expect(plates).to_have_count(2)
    expect_ink(page, "slices", 500)
    # at one moment, and not while the page still finds its width
    page.wait_for_function(
        """() => {
          const plates = [...document.querySelectorAll("figure[data-figure=slices] canvas")];
          const [left, right] = plates.map((plate) => plate.getBoundingClientRect());
          return Math.abs(left.width - right.width) < 2 && left.right <= right.left;
        }"""
    )

    shares = page.locator("[data-importances]")
    expect(shares).to_contain_text("Share in reaching that tenth")
    expect(shares).to_contain_text("weight decay")

    page.get_by_role("button", name="Linear scale").click()
    expect(page.get_by_role("button", name="Log scale")).to_be_visible()
    page.locator("figure[data-figure=history] .u-over").hover()
    expect(page.locator("[data-reading]")).to_contain_text("best so far")
    page.locator("figure[data-figure=history] .u-over").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Trial ")
    expect_ink(page, "trial", 500)


def test_a_rule_is_read_copied_and_taken_home(context: BrowserContext, site: Site) -> None:
    context.grant_permissions(["clipboard-read", "clipboard-write"], origin=site.url)
    page = context.new_page()
    page.goto(f"{site.url}/rules")
    board = page.locator(".board tbody tr:not(.part)")
    expect(board.first).to_contain_text("0.1200")
    expect(board.filter(has_text="adamw")).to_have_class("baseline")
    board.first.locator("a.formula").click()
    expect(page.locator(".equation math")).to_be_visible()
    height = page.locator(".equation math").bounding_box()
    assert height is not None
    assert height["height"] > 15
    with page.expect_download() as download:
        page.get_by_role("link", name="Download the optimizer").click()
    shown = page.locator("#rule-python").inner_text()
    assert download.value.suggested_filename.endswith(".py")
    assert download.value.path().read_text().strip() == shown.strip()
    compile(shown, "rule.py", "exec")
    page.locator("button[data-copy=rule-text]").click()
    text = site.store.rule(page.url.rpartition("/")[2]).text
    assert page.evaluate("navigator.clipboard.readText()") == text


CONTRAST = """() => {
    const style = getComputedStyle(document.documentElement);
    const light = name => {
        const [r, g, b] = style.getPropertyValue(name).match(/[\\d.]+/g).map(Number)
            .map(c => c / 255).map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const ratio = (a, b) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    return ['--ink', '--muted', '--accent', '--good', '--warn', '--bad'].flatMap(
        name => ['--paper', '--raised'].map(ground => ratio(light(name), light(ground))));
}"""


def test_both_themes_can_be_read_and_the_choice_is_kept(
    context: BrowserContext, site: Site
) -> None:
    page = context.new_page()
    page.goto(site.job(site.discovery))
    grounds = []
    for name in ("dark", "light"):
        assert min(page.evaluate(CONTRAST)) >= 4.5
        grounds.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        page.get_by_role("button", name=f"Switch to the {name} theme").click()
    assert grounds[0] != grounds[1]
    page.get_by_role("button", name="Switch to the dark theme").click()
    page.goto(site.url)
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == grounds[1]


@pytest.mark.parametrize("width", [320, 768])
def test_no_page_is_wider_than_its_window(context: BrowserContext, site: Site, width: int) -> None:
    page = context.new_page()
    page.set_viewport_size({"width": width, "height": 800})
    rule = site.store.trial(site.discovery, 3).rule_id
    job = f"/jobs/{site.discovery}"
    for path in ("/", job, f"{job}/trials/5", "/rules", f"/rules/{rule}"):
        page.goto(site.url + path)
        page.wait_for_load_state("networkidle") if path != job else page.wait_for_timeout(300)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path


def test_the_pages_work_without_scripts(context: BrowserContext, site: Site) -> None:
    assert context.browser is not None
    plain = context.browser.new_context(java_script_enabled=False)
    running = seed.start(site.store, "without scripts")
    running.ask(2)
    running.tell(outcome(0, 0.5), outcome(1, 0.25))
    page = plain.new_page()
    page.goto(site.url)
    page.get_by_role("link", name="without scripts").click()
    page.locator("#trials").get_by_role("link", name="Validation loss").click()
    expect(page.locator("#trials tbody th").first).to_have_text("1")
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#summary [role=status]")).to_contain_text("Cancelling")
    site.store.finish(running.claim, JobState.CANCELLED)
    plain.close()


def test_the_keyboard_reaches_the_content_first(context: BrowserContext, site: Site) -> None:
    page = context.new_page()
    page.goto(site.job(site.discovery))
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to the content")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()


CUT = """() => [...document.querySelectorAll('.board a.formula, .board code.rule')]
    .filter(e => e.closest('th').scrollWidth > e.closest('th').clientWidth + 1
        || e.getBoundingClientRect().right > e.closest('th').getBoundingClientRect().right + 1)
    .map(e => e.textContent)"""
LONG = (
    "drop(sign(ema(g, beta1)), 0.3) + clip(drop(sign(g), 0.5) - drop(y, 0.5), 1e-05)",
    "sign(m) + drop(clip(y, 1e-05) - clip(rmsprop, 1e-05), 0.5)",
    "clip(adam, 1e-05) + clip(rmsprop, 1e-05) + drop(sign(g), 0.1) + drop(sign(v), 0.1)",
)


@pytest.mark.parametrize("width", [400, 768, 1280])
def test_a_comparison_is_read_whole_at_any_width(
    context: BrowserContext, site: Site, width: int
) -> None:
    """No formula is cut, every figure is on the screen, and failures stand last."""
    job, claim = seed.claimed_discovery(site.store, "compared")
    seed.compare(site.store, claim, LONG)
    page = context.new_page()
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(site.job(job))
    rows = page.locator("#comparison tbody tr")
    expect(rows).to_have_count(6)
    assert page.evaluate(CUT) == []
    for n in range(6):
        box = rows.nth(n).locator("td.number:not(.rank):not(.detail)").last.bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
    expect(rows.nth(5)).to_contain_text("diverged with fresh seeds")
    expect(rows.filter(has_text="decoupled decay")).to_contain_text("adamw")
    page.close()  # an open page asks for a job that is gone, which Chromium logs as an error
    site.store.finish(claim, JobState.CANCELLED)
    site.store.delete_job(job)


def test_the_history_is_not_flattened_by_outliers(context: BrowserContext, site: Site) -> None:
    """Values beyond the scale are marked at its edge, and few decades need no log scale."""
    running = seed.start(site.store, "outliers")
    running.ask(20)
    running.tell(*(outcome(n, 2.3 - 0.01 * n if n % 3 else 1e6 + n) for n in range(20)))
    page = context.new_page()
    page.goto(site.job(running.job_id))
    expect(caption(page, "history")).to_contain_text("7 beyond the scale are triangles at its edge")
    expect(page.get_by_role("button", name="Log scale")).to_be_visible()
    page.close()
    site.store.finish(running.claim, JobState.CANCELLED)
    site.store.delete_job(running.job_id)


def test_the_update_is_shown_before_the_whole_file(context: BrowserContext, site: Site) -> None:
    page = context.new_page()
    page.goto(f"{site.url}/rules/{site.store.trial(site.discovery, 0).rule_id}")
    expect(page.locator("#rule-update")).to_contain_text("def advance")
    assert page.locator("#rule-update").evaluate("e => e.scrollHeight <= e.clientHeight")
    expect(page.locator(".rulepage")).to_contain_text("Figures from a search are optimistic")
