// @ts-check
// Follows a job's event stream: renews the page's parts and figures, and writes the log.

const LOG_LINES = 200;
/** At most one renewal in this many milliseconds, however fast the events come. */
const PAUSE = 1000;
const ENDED = new Set(["SUCCEEDED", "FAILED", "CANCELLED"]);

/**
 * Returns a function that runs `act` at once, then at most once in `pause` ms, the last call never lost.
 * @param {() => void} act
 * @param {number} pause
 */
export function throttled(act, pause) {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  let last = -Infinity;
  return () => {
    if (timer !== undefined) return;
    const wait = Math.max(0, last + pause - performance.now());
    timer = setTimeout(() => {
      timer = undefined;
      last = performance.now();
      act();
    }, wait);
  };
}

/** Opens the event stream of the job that this page shows, if it shows one. */
export function followJob() {
  const log = document.querySelector("[data-log]");
  if (!(log instanceof HTMLElement) || !log.dataset.log) return;
  const renew = throttled(() => {
    document.body.dispatchEvent(new Event("job-changed"));
  }, PAUSE);
  const source = new EventSource(log.dataset.log);
  let latest = 0;

  /** @param {MessageEvent<string>} event */
  const receive = (event) => {
    // A reconnected stream may repeat what is known; numbers tell.
    const seq = Number(event.lastEventId);
    if (seq && seq <= latest) return;
    latest = seq || latest;
    const body = parsed(event.data);
    const sentence = sentenceOf(event.type, body);
    if (sentence) write(log, sentence, String(body.created ?? ""));
    renew();
    if (event.type === "job" && ENDED.has(String(inner(body).state))) ended(source, log, renew);
  };
  for (const kind of ["job", "trials", "log"]) source.addEventListener(kind, receive);
  source.addEventListener("error", () => {
    // No more is to come: the job has ended, or is gone.
    if (source.readyState === EventSource.CLOSED) document.body.dispatchEvent(new Event("job-silent"));
  });
  addEventListener("pagehide", () => source.close());
}

/**
 * A job that has ended may still be resumed from elsewhere, but its stream is done.
 * @param {EventSource} source
 * @param {HTMLElement} log
 * @param {() => void} renew
 */
function ended(source, log, renew) {
  const state = document.querySelector("[data-state]");
  if (state instanceof HTMLElement && ENDED.has(state.dataset.state ?? "")) source.close();
  else setTimeout(renew, 2 * PAUSE);
  log.dataset.ended = "true";
}

/**
 * @param {string} text
 * @returns {Record<string, unknown>}
 */
function parsed(text) {
  try {
    const value = JSON.parse(text);
    return value && typeof value === "object" ? value : {};
  } catch {
    return {};
  }
}

/**
 * The event's own body, whether the stream sends the whole event or the body alone.
 * @param {Record<string, unknown>} value
 * @returns {Record<string, unknown>}
 */
function inner(value) {
  const body = value.body;
  return body && typeof body === "object" ? /** @type {Record<string, unknown>} */ (body) : value;
}

/**
 * @param {string} kind
 * @param {Record<string, unknown>} value
 * @returns {string}
 */
function sentenceOf(kind, value) {
  const body = inner(value);
  if (kind === "log") return String(body.sentence ?? body.text ?? body.message ?? "");
  if (kind === "job" && body.state) {
    const why = body.error ? `: ${body.error}` : "";
    const state = String(body.state);
    const verb = { SUCCEEDED: "has", FAILED: "has", CANCELLED: "was" }[state] ?? "is";
    return `The job ${verb} ${state.toLowerCase()}${why}.`;
  }
  return "";
}

/**
 * @param {HTMLElement} log
 * @param {string} sentence
 * @param {string} moment
 */
function write(log, sentence, moment) {
  log.querySelector(".nothing")?.remove();
  const line = document.createElement("li");
  const when = new Date(moment);
  if (moment && !Number.isNaN(when.valueOf())) {
    const time = document.createElement("time");
    time.dateTime = moment;
    time.textContent = when.toLocaleTimeString([], { hour12: false });
    line.append(time, " ");
  }
  line.append(sentence);
  log.prepend(line);
  while (log.childElementCount > LOG_LINES) log.lastElementChild?.remove();
}
