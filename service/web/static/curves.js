// @ts-check
// Learning curves: of a job's best and latest trials, and of one trial by metric.
import { axis, logSplits, palette, place, positive, reach, summarise, written } from "./plot.js";

/** @typedef {{number: number, rank: number | null, values: (number | null)[]}} Line */

/** @type {import("./figures.js").Draw} */
export function curvesPlot(figure, data) {
  const holder = /** @type {HTMLElement} */ (figure.querySelector(".canvas"));
  const colours = palette();
  /** @type {Line[]} */
  // The best is drawn last, above the others.
  const lines = [...data.curves].sort((a, b) => (b.rank ?? 99) - (a.rank ?? 99));
  const ends = lines.flatMap((line) => /** @type {number[]} */ (line.values.filter((v) => v !== null)));
  const log = positive(ends);
  const [low, high] = reach(ends, data.direction === "minimize", log);
  const first = lines.find((line) => line.rank === 1);
  summarise(
    figure,
    first
      ? `The best trial, ${first.number}, ends at ${written(first.values.findLast((v) => v !== null) ?? 0)}.`
      : "No curve has been recorded yet.",
  );
  const series = lines.map((line) => ({
    stroke: line.rank === null ? colours.faint : colours.ramp[line.rank - 1],
    width: line.rank === 1 ? 2.25 : line.rank === null ? 1 : 1.25,
    spanGaps: true,
    points: { show: false },
  }));
  const options = frame(colours, data.metric.replaceAll("_", " "), series, low, high, log);
  return place(holder, options, [data.step, ...lines.map((line) => line.values)]);
}

/** @type {import("./figures.js").Draw} */
export function trialPlot(figure, data) {
  const holder = /** @type {HTMLElement} */ (figure.querySelector(".canvas"));
  const colours = palette();
  const names = Object.keys(data.metrics).filter((name) => name.endsWith("loss"));
  const drawn = names.length ? names : Object.keys(data.metrics);
  const all = drawn.flatMap((name) => /** @type {number[]} */ (data.metrics[name].filter((/** @type {any} */ v) => v !== null)));
  const log = positive(all);
  const [low, high] = reach(all, false, log);
  const dashes = [[], [6, 4], [2, 3]];
  const series = drawn.map((_, i) => ({
    stroke: i === 0 ? colours.muted : colours.accent,
    width: i === 0 ? 1.25 : 2,
    dash: i === 0 ? dashes[1] : [],
    points: { show: false },
  }));
  summarise(
    figure,
    drawn
      .map((name, i) => `${i === 0 && drawn.length > 1 ? "Dashed" : "Solid"}: ${name.replaceAll("_", " ")}, ` +
        `at the end ${written(data.metrics[name].findLast((/** @type {any} */ v) => v !== null) ?? 0)}.`)
      .join(" "),
  );
  const options = frame(colours, "loss", series, low, high, log);
  return place(holder, options, [data.step, ...drawn.map((name) => data.metrics[name])]);
}

/**
 * The steps that are drawn; without any the axis stands all the same.
 * @param {any} _plot
 * @param {number | null} first
 * @param {number | null} last
 */
function range(_plot, first, last) {
  return first === null || last === null ? [0, 1] : [first, last];
}

/**
 * @param {import("./palette.js").Palette} colours
 * @param {string} label
 * @param {object[]} series
 * @param {number} low
 * @param {number} high
 * @param {boolean} log
 */
function frame(colours, label, series, low, high, log) {
  return {
    height: 300,
    padding: [10, 12, 0, 0],
    scales: { x: { time: false, range }, y: { distr: log ? 3 : 1, range: () => [low, high] } },
    axes: [
      axis(colours, "step", { side: 2, size: 32 }),
      axis(colours, label, { side: 3, ...(log ? { splits: () => logSplits(low, high) } : {}) }),
    ],
    series: [{}, ...series],
    cursor: { show: false },
  };
}
