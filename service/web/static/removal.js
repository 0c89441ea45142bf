// @ts-check
// Says that the job of this page was deleted, once the page can know.

/** How often a page that is looked at asks whether its job is still there, in ms. */
const LOOK = 20_000;

/** Looks after the job that this page shows, if it shows one. */
export function noticeRemoval() {
  const article = document.querySelector("[data-job]");
  if (!(article instanceof HTMLElement) || !article.dataset.job) return;
  // A list without it is a good answer: to ask for the job itself would print an error each time.
  const query = new URLSearchParams({ filter: `id = "${article.dataset.job}"`, page_size: "1" });
  let gone = false;
  const look = async () => {
    if (gone || document.visibilityState !== "visible") return;
    try {
      const response = await fetch(`/api/v1/jobs?${query}`);
      if (!response.ok || (await response.json()).total > 0 || gone) return;
    } catch {
      return; // The server is away for a moment.
    }
    gone = true;
    clearInterval(timer);
    tell(article);
  };
  const timer = setInterval(look, LOOK);
  document.addEventListener("visibilitychange", look);
  document.body.addEventListener("job-silent", look);
  document.body.addEventListener("htmx:response:error", look);
}

/** @param {HTMLElement} article */
function tell(article) {
  const notice = document.createElement("p");
  notice.className = "notice grave";
  notice.setAttribute("role", "alert");
  const what = document.createElement("b");
  what.textContent = "This job was deleted.";
  const home = document.createElement("a");
  home.href = "/";
  home.textContent = "Back to the jobs";
  notice.append(what, " What is shown is what this page knew last. ", home, ".");
  article.prepend(notice);
  // Nothing that these would ask for is there any more.
  for (const form of article.querySelectorAll("form")) form.remove();
}
