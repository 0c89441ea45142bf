"""What a page says whose job is deleted while it is open."""

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from dsl.outcome import TrialState
from service.resources import JobState
from tests.browser import seed
from tests.browser.conftest import Site
from tests.browser.seed import outcome

pytestmark = pytest.mark.browser

ABSENT = "Failed to load resource: the server responded with a status of 404 (Not Found)"
"""What Chromium itself prints of a request that is answered 404; no script can keep it from it."""


def ended(site: Site, name: str) -> str:
    running = seed.start(site.store, name)
    running.ask(2)
    running.tell(outcome(0, 0.5), outcome(1, 2.0, state=TrialState.INFEASIBLE))
    site.store.finish(running.claim, JobState.SUCCEEDED)
    return running.job_id


def opened(context: BrowserContext, site: Site, job_id: str) -> Page:
    page = context.new_page()
    page.goto(site.job(job_id))
    expect(page.locator(".log li").filter(has_text="The job has succeeded.")).to_have_count(1)
    expect(page.locator("figure[data-figure=history] [data-summary]")).to_contain_text("trial 0")
    return page


def expect_farewell(page: Page) -> None:
    notice = page.locator(".notice[role=alert]")
    expect(notice).to_contain_text("This job was deleted.")
    expect(page.locator("#trials tbody th")).to_have_count(2)
    expect(page.locator("article form")).to_have_count(0)
    notice.get_by_role("link", name="Back to the jobs").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Jobs")
    page.close()


def test_a_page_that_is_looked_at_again_says_that_its_job_is_gone(
    context: BrowserContext, site: Site
) -> None:
    job_id = ended(site, "to be deleted")
    page = opened(context, site, job_id)
    with page.expect_response(lambda answer: "/api/v1/jobs?" in answer.url) as answered:
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    answered.value.finished()
    expect(page.locator(".notice")).to_have_count(0)
    site.store.delete_job(job_id)
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect_farewell(page)


def test_a_page_whose_request_finds_no_job_says_so_and_keeps_what_it_shows(
    browser: Browser, site: Site
) -> None:
    job_id = ended(site, "to be deleted and sorted")
    own = browser.new_context()
    errors: list[str] = []
    own.on("weberror", lambda error: errors.append(str(error.error)))
    own.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
    page = opened(own, site, job_id)
    site.store.delete_job(job_id)
    page.locator("#trials").get_by_role("link", name="Validation loss").click()
    expect_farewell(page)
    own.close()
    assert set(errors) == {ABSENT}
