import re
from collections.abc import Sequence
from html.parser import HTMLParser

import httpx
import pytest

from dsl.candidate import Candidate, Proposal, Stage
from dsl.canonical import rule_id
from dsl.outcome import TrialState
from optimizers.catalogue import CATALOGUE
from service.resources import JobState
from service.store.queue import Claim
from tests.browser import seed
from tests.browser.conftest import Site
from tests.browser.seed import outcome


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, {name: value or "" for name, value in attrs}))


def tags(text: str) -> list[tuple[str, dict[str, str]]]:
    """Return a page's tags with their attributes."""
    parser = _Tags()
    parser.feed(text)
    return parser.found


def addresses(text: str, *names: str) -> list[str]:
    """Return the values of these attributes, all that hold addresses unless named."""
    names = names or ("src", "href", "action", "hx-get", "data-source", "data-log")
    return [v for _, attributes in tags(text) for k, v in attributes.items() if k in names]


@pytest.fixture
def pages(site: Site, http: httpx.Client) -> list[str]:
    """The address of one page of every kind."""
    rule = site.store.trial(site.discovery, 0).rule_id
    return [
        "/",
        "/?state=SUCCEEDED",
        f"/jobs/{site.discovery}",
        f"/jobs/{site.discovery}?part=summary",
        f"/jobs/{site.discovery}?part=comparison",
        f"/jobs/{site.discovery}?part=trials&filter=state+%3D+COMPLETE&order_by=value+desc",
        f"/jobs/{site.discovery}/trials/0",
        f"/jobs/{site.discovery}/trials/3",
        f"/jobs/{site.discovery}/trials/5",
        "/rules",
        f"/rules/{rule}",
    ]


def test_every_page_is_served_without_inline_script_or_style(
    http: httpx.Client, pages: list[str]
) -> None:
    for path in pages:
        answer = http.get(path)
        assert answer.status_code == 200, path
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert "script-src 'self'" in answer.headers["content-security-policy"]
        for tag, attributes in tags(answer.text):
            assert tag != "style", path
            assert not [name for name in attributes if name == "style" or name.startswith("on")]
            if tag == "script" and attributes.get("type") != "application/json":
                assert attributes["src"].startswith("/static/"), path


def test_a_page_loads_nothing_from_elsewhere(http: httpx.Client, pages: list[str]) -> None:
    for path in pages:
        for address in addresses(http.get(path).text):
            assert address.startswith(("/", "#")), (path, address)


def test_links_lead_somewhere(http: httpx.Client, pages: list[str]) -> None:
    found: set[str] = set()
    for path in pages:
        found |= {a.partition("#")[0] for a in addresses(http.get(path).text, "src", "href")}
    for address in sorted(found - {""}):
        assert http.get(address).status_code == 200, address


def test_without_jobs_the_list_says_how_to_submit_one(empty_site: str) -> None:
    text = httpx.get(empty_site).text
    commands = re.findall(
        r"<code>curl ([^ ]+)/api/v1/jobs .*? -d &#39;(.*?)&#39;", text, re.DOTALL
    ) or (re.findall(r"<code>curl ([^ ]+)/api/v1/jobs .*? -d '(.*?)'</code>", text, re.DOTALL))
    assert len(commands) == 2
    for address, body in commands:
        assert address == empty_site
        content = body.replace("&#34;", '"')
        answer = httpx.post(
            f"{address}/api/v1/jobs?validate_only=true",
            content=content,
            headers={"Content-Type": "application/json"},
        )
        assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/jobs/nosuchjob", 404),
        ("/jobs/%00", 404),
        ("/jobs/" + "x" * 3000, 404),
        ("/jobs/nosuchjob/trials/0", 404),
        ("/jobs/nosuchjob/columns.json", 404),
        ("/rules/nosuchrule", 404),
        ("/rules/%00", 404),
        ("/?state=NONSENSE", 422),
        ("/?page_token=nonsense", 422),
        ("/rules?page_token=nonsense", 422),
    ],
)
def test_what_is_not_there_is_said_on_a_page(http: httpx.Client, path: str, status: int) -> None:
    answer = http.get(path)
    assert answer.status_code == status
    assert "<h1>Not " in answer.text


@pytest.mark.parametrize("number", ["99", "-1", "x", "99999999999999999999"])
def test_trials_that_are_not_there(site: Site, http: httpx.Client, number: str) -> None:
    answer = http.get(f"/jobs/{site.discovery}/trials/{number}")
    assert answer.status_code in (404, 422)
    assert "<h1>Not " in answer.text


@pytest.mark.parametrize("query", ["filter=vlue<1", "order_by=vlue", "page_token=nonsense"])
def test_a_question_not_understood_is_answered_beside_it(
    site: Site, http: httpx.Client, query: str
) -> None:
    answer = http.get(f"/jobs/{site.discovery}?{query}")
    assert answer.status_code == 200
    assert 'role="alert"' in answer.text
    assert "rules for digits" in answer.text


def test_what_people_write_stays_text(site: Site, http: httpx.Client) -> None:
    site.store.update_job(site.discovery, notes="<img src=x onerror=alert(1)> {{ 7 * 7 }}")
    text = http.get(f"/jobs/{site.discovery}").text
    assert "&lt;img src=x onerror=alert(1)&gt; {{ 7 * 7 }}" in text
    site.store.update_job(site.discovery, notes="")


def test_buttons_change_the_job_and_lead_back_to_it(site: Site, http: httpx.Client) -> None:
    running = seed.start(site.store, "to be stopped")
    for action, state in (("pause", JobState.PAUSING), ("cancel", JobState.CANCELLING)):
        answer = http.post(f"/jobs/{running.job_id}/{action}")
        assert answer.status_code == 303
        assert answer.headers["location"] == f"/jobs/{running.job_id}"
        assert site.store.job(running.job_id).state is state
    refused = http.post(f"/jobs/{running.job_id}/resume")
    assert refused.status_code == 409
    assert "cannot resume" in refused.text
    site.store.finish(running.claim, JobState.CANCELLED)

    again = http.post(f"/jobs/{running.job_id}/clone")
    clone = again.headers["location"].removeprefix("/jobs/")
    assert site.store.job(clone).spec.name.startswith("to be stopped")
    site.store.request(clone, "cancel")
    for job in (clone, running.job_id):
        assert http.post(f"/jobs/{job}/delete").headers["location"] == "/"
        assert http.get(f"/jobs/{job}").status_code == 404


def test_another_site_cannot_press_buttons(site: Site, http: httpx.Client) -> None:
    answer = http.post(f"/jobs/{site.discovery}/delete", headers={"Sec-Fetch-Site": "cross-site"})
    assert answer.status_code == 403
    assert site.store.job(site.discovery).state is JobState.SUCCEEDED


def test_columns_are_the_search_and_the_comparison_is_apart(site: Site, http: httpx.Client) -> None:
    columns = http.get(f"/jobs/{site.discovery}/columns.json").json()
    assert columns["number"] == [0, 1, 2, 3]
    assert columns["value"] == pytest.approx([0.4, 0.35, 0.3, None], nan_ok=True)
    assert columns["best"] == pytest.approx([0.4, 0.35, 0.3, 0.3])
    assert columns["state"][3] == "INFEASIBLE"
    text = http.get(f"/jobs/{site.discovery}?part=comparison").text
    labels = re.findall(r'<a class="label"[^>]*>(\w+)</a>', text)
    assert labels == ["adamw", "sgd"]
    assert text.index("0.1200") < text.index("0.2000") < text.index("0.2500") < text.index("0.3000")


def meet_adamw(
    site: Site,
    claim: Claim,
    rule: str,
    meetings: Sequence[tuple[Stage, str | None]],
    values: Sequence[float],
) -> None:
    """Record the figures of a rule and of AdamW, by turns, at each stage and task."""
    asked = [
        Proposal(
            number=2 * n + i, candidate=Candidate(rule=text), stage=stage, task=task, label=label
        )
        for n, (stage, task) in enumerate(meetings)
        for i, (text, label) in enumerate(((rule, None), (CATALOGUE["adamw"].rule, "adamw")))
    ]
    site.store.record_asked(claim, asked)
    told = [outcome(n, value, seeds=3) for n, value in enumerate(values)]
    site.store.record_told(claim, told, None)


def test_near_copies_that_a_comparison_passed_over_are_counted(
    site: Site, http: httpx.Client
) -> None:
    job, claim = seed.claimed_discovery(site.store, "near-copies")
    rules = ("sign(m)", "sign(m) + clip(w, 0.0001)", "g * ld")
    asked = [Proposal(number=n, candidate=Candidate(rule=rule)) for n, rule in enumerate(rules)]
    site.store.record_asked(claim, asked)
    site.store.record_told(claim, [outcome(n, 0.1 + n / 10) for n in range(3)], None)
    for number, (passed_over, rule) in enumerate((("", rules[0]), ("1 rule as", rules[2])), 3):
        compared = Proposal(number=number, candidate=Candidate(rule=rule), stage=Stage.COMPARISON)
        site.store.record_asked(claim, [compared])
        site.store.record_told(claim, [outcome(number, 0.3, seeds=3)], None)
        text = http.get(f"/jobs/{job}?part=comparison").text
        assert ("Not compared: " in text) is bool(passed_over)
        assert f"Not compared: {passed_over}" in text or not passed_over
    site.store.finish(claim, JobState.CANCELLED)
    site.store.delete_job(job)


def test_what_a_comparison_bears_out_is_said_in_words(site: Site, http: httpx.Client) -> None:
    job, claim = seed.claimed_discovery(site.store, "climbed")
    rule = "sign(g) * abs(m) * 3"
    stages = ((Stage.COMPARISON, None), (Stage.UNSEEN, "wine"), (Stage.LONG, None))
    meet_adamw(site, claim, rule, stages, (0.3, 0.4, 0.4, 0.3, 0.2, 0.1))
    boards = http.get(f"/jobs/{job}?part=comparison").text
    assert boards.count("<table") == 3
    assert boards.count('<span class="spread">1.5 s</span>') == 6, "what each figure took"
    assert boards.index("On wine, which the search never saw") < boards.index("After 100 steps")
    where = "2 of 2 by test loss; ahead on 0 of 3 seeds (p = 0.25); "
    assert where + "wins on the search task only" in http.get("/rules?task=wine").text
    page = http.get(f"/rules/{rule_id(rule)}").text
    assert (
        "After 100 steps it does better than AdamW, tuned over the same grid, on 3 of 3 seeds; its "
        "test loss differs by −0.1100 on average (Wilcoxon signed-rank test, exact, two-sided: "
        "p = 0.25, the smallest that 3 seeds can show). It wins on the search task only: AdamW, "
        "tuned over the same grid, is as good or better on the one unseen task (wine). After 100 "
        "steps it does better than AdamW, tuned over the same grid, on 0 of 3 seeds; its test loss "
        "differs by 0.1100 on average"
    ) in page
    site.store.finish(claim, JobState.CANCELLED)
    site.store.delete_job(job)


def test_several_unseen_tasks_make_one_table_and_are_told_once(
    site: Site, http: httpx.Client
) -> None:
    job, claim = seed.claimed_discovery(site.store, "climbed far")
    rule, tasks = "sign(g) * abs(m) * 5", ("wine", "diabetes")
    meetings = [(Stage.COMPARISON, None), *((Stage.UNSEEN, task) for task in tasks)]
    meet_adamw(site, claim, rule, meetings, (0.3, 0.4, 0.4, 0.3, 0.2, 0.25))
    part = http.get(f"/jobs/{job}?part=comparison").text
    assert part.count("never saw") == 1
    table, apart = part.split("<details")[0], part.split("<details")[1]
    assert '<td class="number">1 of 2</td>' in table.split("On tasks that")[1]
    assert table.count("<table") == 2
    assert apart.count("<table") == 2
    page = http.get(f"/rules/{rule_id(rule)}").text
    assert page.count("Of 2 unseen tasks") == 1
    assert (
        "<b>wine.</b> Number 2 of 2 by test loss, which differs from AdamW's by 0.1100 on average; "
        "ahead on 0 of 3 seeds (p = 0.25, the smallest that 3 seeds can show)."
    ) in page.replace("&#39;", "'")
    site.store.finish(claim, JobState.CANCELLED)
    site.store.delete_job(job)


def test_parameters_and_curves_come_as_columns(site: Site, http: httpx.Client) -> None:
    running = seed.start(site.store, "columns")
    running.ask(3)
    running.tell(outcome(0, 0.5), outcome(1, 0.2), outcome(2, 0.9, state=TrialState.PRUNED))
    columns = http.get(f"/jobs/{running.job_id}/columns.json").json()
    assert columns["parameters"]["lr"]["log"] is True
    assert columns["parameters"]["lr"]["values"] == pytest.approx([0.1, 0.01, 0.001])
    curves = http.get(f"/jobs/{running.job_id}/curves.json").json()
    assert curves["step"] == list(range(0, 101, 10))
    assert [(c["number"], c["rank"]) for c in curves["curves"]] == [(1, 1), (0, 2)]
    assert curves["curves"][0]["values"][0] == pytest.approx(2.2)
    site.store.finish(running.claim, JobState.CANCELLED)


def test_static_files_are_revalidated_and_nothing_else_is_served(http: httpx.Client) -> None:
    answer = http.get("/static/page.css")
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-cache"
    again = http.get("/static/page.css", headers={"If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304
    for path in (
        "/static/../pages.py",
        "/static/%2e%2e/pages.py",
        "/static/nothing.css",
        "/static/",
    ):
        assert http.get(path).status_code == 404
