// @ts-check
// Every trial's value in the order of asking, and the best so far.
import { axis, logSplits, palette, place, positive, reach, summarise, uPlot, wide, written } from "./plot.js";

/**
 * @typedef {{metric: string, direction: string, budget: number, number: number[], state: string[],
 *   value: (number | null)[], best: (number | null)[]}} Columns
 */

/** @type {import("./figures.js").Draw} */
export function historyPlot(figure, data) {
  const columns = /** @type {Columns} */ (data);
  const holder = /** @type {HTMLElement} */ (figure.querySelector(".canvas"));
  const colours = palette();
  const smaller = columns.direction === "minimize";
  const log = scaleOf(figure, positive(columns.value), wide(columns.value, smaller));
  const complete = columns.value.map((v, i) => (columns.state[i] === "COMPLETE" ? v : null));
  const pruned = columns.value.map((v, i) => (columns.state[i] === "PRUNED" ? v : null));
  const shown = /** @type {number[]} */ (columns.value.filter((v) => v !== null));
  const [low, high] = reach(shown, smaller, log, true);
  const last = columns.number.at(-1) ?? 0;
  const cut = shown.filter((v) => v < low || v > high).length;
  const aside = cut ? ` ${cut} beyond the scale ${cut === 1 ? "is a triangle" : "are triangles"} at its edge.` : "";
  summarise(figure, gist(columns) + aside);

  const options = {
    height: 300,
    padding: [10, 12, 0, 0],
    scales: {
      x: { time: false, range: () => [-0.5, Math.max(last + 1, 10)] },
      y: { distr: log ? 3 : 1, range: () => [low, high] },
    },
    axes: [
      axis(colours, "trial", { side: 2, size: 32 }),
      axis(colours, columns.metric.replaceAll("_", " "), {
        side: 3,
        ...(log ? { splits: () => logSplits(low, high) } : {}),
      }),
    ],
    series: [
      {},
      dots(colours.muted, 4, true),
      dots(colours.muted, 5, false),
      { stroke: colours.accent, width: 2, paths: uPlot.paths.stepped({ align: 1 }), points: { show: false }, spanGaps: true },
    ],
    cursor: { y: false, drag: { x: false, y: false }, points: { show: false } },
    hooks: {
      draw: [
        (/** @type {any} */ plot) => ticks(plot, columns, colours.bad),
        (/** @type {any} */ plot) => beyond(plot, columns, low, high, colours.muted),
      ],
      setCursor: [(/** @type {any} */ plot) => read(figure, columns, plot.cursor.idx)],
    },
  };
  const remove = place(holder, options, [columns.number, complete, pruned, columns.best]);
  holder.onclick = () => open(figure, columns);
  return remove;
}

/**
 * @param {string} colour
 * @param {number} size
 * @param {boolean} filled
 */
function dots(colour, size, filled) {
  return {
    stroke: colour,
    paths: () => null,
    points: { show: true, size, width: filled ? 0 : 1, fill: filled ? colour : "transparent", stroke: colour, space: 0 },
  };
}

/**
 * Marks infeasible trials below the plate: they have no value, but they happened.
 * @param {any} plot
 * @param {Columns} columns
 * @param {string} colour
 */
function ticks(plot, columns, colour) {
  const { ctx, bbox } = plot;
  const ratio = devicePixelRatio;
  ctx.save();
  ctx.strokeStyle = colour;
  ctx.lineWidth = ratio;
  ctx.globalAlpha = 0.75;
  ctx.beginPath();
  const bottom = bbox.top + bbox.height;
  columns.number.forEach((number, i) => {
    if (columns.state[i] !== "INFEASIBLE") return;
    const x = plot.valToPos(number, "x", true);
    ctx.moveTo(x, bottom - 7 * ratio);
    ctx.lineTo(x, bottom - ratio);
  });
  ctx.stroke();
  ctx.restore();
}

/**
 * Marks values beyond the scale by small triangles at its edge.
 * @param {any} plot
 * @param {Columns} columns
 * @param {number} low
 * @param {number} high
 * @param {string} colour
 */
function beyond(plot, columns, low, high, colour) {
  const { ctx, bbox } = plot;
  const size = 3 * devicePixelRatio;
  ctx.save();
  ctx.fillStyle = colour;
  ctx.globalAlpha = 0.6;
  columns.value.forEach((value, i) => {
    if (value === null || (value >= low && value <= high)) return;
    const x = plot.valToPos(columns.number[i], "x", true);
    const [edge, inward] = value > high ? [bbox.top, size * 1.6] : [bbox.top + bbox.height, -size * 1.6];
    ctx.beginPath();
    ctx.moveTo(x, edge);
    ctx.lineTo(x - size, edge + inward);
    ctx.lineTo(x + size, edge + inward);
    ctx.fill();
  });
  ctx.restore();
}

/**
 * Says under the figure what the pointer is at.
 * @param {HTMLElement} figure
 * @param {Columns} columns
 * @param {number | null | undefined} index
 */
function read(figure, columns, index) {
  const line = figure.querySelector("[data-reading]");
  if (!(line instanceof HTMLElement)) return;
  if (index === null || index === undefined) {
    line.textContent = "";
    delete figure.dataset.at;
    return;
  }
  figure.dataset.at = String(columns.number[index]);
  const value = columns.value[index];
  const best = columns.best[index];
  line.textContent =
    `trial ${columns.number[index]}: ${value === null ? columns.state[index].toLowerCase() : written(value)}` +
    (best === null ? "" : `; best so far ${written(best)}`);
}

/**
 * @param {HTMLElement} figure
 * @param {Columns} columns
 */
function open(figure, columns) {
  const job = figure.closest("[data-job]");
  const number = figure.dataset.at;
  if (!(job instanceof HTMLElement) || number === undefined || columns.number.length === 0) return;
  location.assign(`/jobs/${job.dataset.job}/trials/${number}`);
}

/**
 * The reader's choice of scale, before it the one that suits; the button goes away where a log
 * scale cannot show the values.
 * @param {HTMLElement} figure
 * @param {boolean} possible
 * @param {boolean} suits Whether a log scale shows the values better.
 */
function scaleOf(figure, possible, suits) {
  const button = figure.querySelector("[data-scale]");
  if (!(button instanceof HTMLButtonElement)) return possible;
  button.hidden = !possible;
  const log = button.dataset.scale ? button.dataset.scale === "log" : suits;
  button.textContent = log ? "Linear scale" : "Log scale";
  button.onclick = () => {
    button.dataset.scale = log ? "linear" : "log";
    figure.dispatchEvent(new Event("figure-changed"));
  };
  return possible && log;
}

/** @param {Columns} columns */
function gist(columns) {
  const best = columns.best.at(-1);
  if (best === null || best === undefined) return "No trial is complete yet.";
  const where = columns.number[columns.best.indexOf(best)];
  return `The best of ${columns.number.length} so far, ${written(best)}, is trial ${where}.`;
}
