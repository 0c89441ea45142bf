// @ts-check
// Finds the page's figures, fetches their columns, and draws them anew when the job has news,
// the window another width or the reader another theme.
import { curvesPlot, trialPlot } from "./curves.js";
import { frontPlot } from "./front.js";
import { historyPlot } from "./history.js";
import { slicePlots } from "./slices.js";
import { throttled } from "./live.js";

/**
 * A drawing: given its data, it puts a chart in the figure and returns how to take it away.
 * @typedef {(figure: HTMLElement, data: any) => () => void} Draw
 */

/** @type {Record<string, Draw>} */
const DRAWINGS = { history: historyPlot, curves: curvesPlot, slices: slicePlots, front: frontPlot, trial: trialPlot };

/** The fastest that a figure asks for its data again, in ms; slow answers stretch it. */
const PAUSE = 1500;

/** Two figures of one address share the answer to one request. */
/** @type {Map<string, Promise<any>>} */
const underway = new Map();

/** @param {string} address */
function fetched(address) {
  let answer = underway.get(address);
  if (!answer) {
    answer = fetch(address, { headers: { Accept: "application/json" } }).then((response) => {
      if (!response.ok) throw new Error(`${address} answered ${response.status}`);
      return response.json();
    });
    underway.set(address, answer);
    answer.catch(() => {}).finally(() => underway.delete(address));
  }
  return answer;
}

/** Draws every figure of the page and keeps them fresh. */
export function drawFigures() {
  for (const figure of document.querySelectorAll("figure[data-figure]")) {
    if (figure instanceof HTMLElement) keep(figure);
  }
}

/** @param {HTMLElement} figure */
function keep(figure) {
  const draw = DRAWINGS[figure.dataset.figure ?? ""];
  if (!draw) return;
  /** @type {any} */
  let data;
  let remove = () => {};
  let width = 0;
  const redraw = () => {
    if (data === undefined) return;
    remove();
    remove = draw(figure, data);
  };
  const load = async () => {
    try {
      data = await fetched(figure.dataset.source ?? "");
      redraw();
    } catch {
      // The server is away for a moment: the chart stays as it is and the next event asks again.
    }
  };

  const embedded = figure.querySelector('script[type="application/json"]');
  if (embedded) {
    data = JSON.parse(embedded.textContent ?? "null");
    redraw();
  } else {
    load();
    document.body.addEventListener("job-changed", throttled(load, PAUSE));
  }
  document.addEventListener("theme-changed", redraw);
  figure.addEventListener("figure-changed", redraw);
  new ResizeObserver((entries) => {
    const wide = Math.round(entries[0].contentRect.width);
    if (wide === width) return;
    width = wide;
    redraw();
  }).observe(figure);
}
