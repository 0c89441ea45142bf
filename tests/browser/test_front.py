import pytest
from playwright.sync_api import BrowserContext, expect

from dsl.outcome import TrialState
from service.jobs import JOB_SPEC
from tests.browser import seed
from tests.browser.conftest import Site
from tests.browser.seed import outcome
from tests.browser.test_dashboard import caption, expect_ink

pytestmark = pytest.mark.browser

OBJECTIVES = [
    {"metric": "validation_loss"},
    {"metric": "validation_accuracy", "direction": "maximize"},
    {"metric": "cost_seconds"},
]


def test_the_front_is_drawn_and_keeps_up(context: BrowserContext, site: Site) -> None:
    body = seed.TUNE | {"name": "three objectives", "objectives": OBJECTIVES}
    job, _ = site.store.create_job(JOB_SPEC.validate_python(body))
    claim = site.store.claim("tests", 3600)
    assert claim is not None
    running = seed.Running(site.store, job.id, claim)
    running.ask(5)
    page = context.new_page()
    page.goto(f"{site.url}/jobs/{job.id}")
    expect(page.locator("#front")).to_contain_text("No trial is complete yet.")
    cheap = outcome(3, 0.5).model_copy(update={"cost_seconds": 0.1})
    running.tell(*(outcome(n, 0.5 - 0.1 * n) for n in range(3)), cheap)
    running.tell(outcome(4, 9.0, state=TrialState.INFEASIBLE))
    rows = page.locator("#front tbody tr th")
    expect(rows).to_have_text(["2", "3"])
    expect(caption(page, "front")).to_have_text("2 of 4 complete trials are on the front.")
    expect_ink(page, "front", 500)
    trials = page.locator("#trials")
    expect(trials.locator("thead th")).to_have_text(
        ["Trial ↓", "State", "Weight decay", "Lr", "Validation loss", "Validation accuracy",
         "Steps", "Cost"],
        ignore_case=True,
    )  # fmt: skip
    accuracies = trials.locator("tbody tr:not(.reason) td:nth-child(6)")
    expect(accuracies).to_have_text(["–", "0.8333", "0.9000", "0.8667", "0.8333"])
    trials.get_by_role("link", name="Validation accuracy").click()
    expect(trials.locator("tbody th")).to_have_text(["0", "3", "1", "2", "4"])
    page.locator("figure[data-figure=front] .u-over").hover()
    expect(page.locator("figure[data-figure=front] [data-reading]")).to_contain_text("cost seconds")
    site.store.request(job.id, "cancel")
