// @ts-check
// The trials of a search for several objectives: the second against the first, the front in colour.
import { axis, logSplits, palette, place, positive, reach, summarise, uPlot, wide, written } from "./plot.js";

/** @typedef {{metric: string, direction: string, values: (number | null)[]}} Objective */

/** @type {import("./figures.js").Draw} */
export function frontPlot(figure, data) {
  const holder = /** @type {HTMLElement} */ (figure.querySelector(".canvas"));
  const colours = palette();
  const [first, second] = /** @type {Objective[]} */ (data.objectives);
  const front = new Set(data.front);
  const rows = [...data.number.keys()]
    .filter((i) => data.state[i] === "COMPLETE")
    .sort((a, b) => Number(first.values[a]) - Number(first.values[b]));
  const ahead = rows.filter((i) => front.has(data.number[i]));
  const across = scale(first, rows, ahead);
  const up = scale(second, rows, ahead);
  /** @param {boolean} on */
  const series = (on) => rows.map((i) => (front.has(data.number[i]) === on ? second.values[i] : null));
  const count = front.size;
  summarise(
    figure,
    count ? `${count} of ${rows.length} complete trials ${count === 1 ? "is" : "are"} on the front.` : "No trial is complete yet.",
  );
  const options = {
    height: 320,
    padding: [10, 12, 0, 0],
    scales: {
      x: { time: false, distr: across.log ? 3 : 1, range: () => across.range },
      y: { distr: up.log ? 3 : 1, range: () => up.range },
    },
    axes: [
      axis(colours, first.metric.replaceAll("_", " "), { side: 2, size: 32, ...across.marks }),
      axis(colours, second.metric.replaceAll("_", " "), { side: 3, ...up.marks }),
    ],
    series: [
      {},
      { stroke: colours.muted, paths: () => null, points: dots(colours.muted, 4) },
      {
        stroke: colours.accent,
        width: 1.25,
        // Stepped as dominance is: what lies between two of the front is reached by neither.
        paths: count > 1 ? stairs(first, data.objectives.length) : () => null,
        spanGaps: true,
        points: dots(colours.accent, 7),
      },
    ],
    cursor: { y: false, drag: { x: false, y: false }, points: { show: false } },
    hooks: { setCursor: [(/** @type {any} */ plot) => read(figure, data, rows[plot.cursor.idx])] },
  };
  return place(holder, options, [rows.map((i) => first.values[i]), series(false), series(true)]);
}

/**
 * @param {Objective} first
 * @param {number} objectives With more than two, the front is no line in this plane.
 */
function stairs(first, objectives) {
  if (objectives > 2) return () => null;
  return uPlot.paths.stepped({ align: first.direction === "minimize" ? 1 : -1 });
}

/**
 * @param {string} colour
 * @param {number} size
 */
function dots(colour, size) {
  return { show: true, size, width: 0, fill: colour, stroke: colour, space: 0 };
}

/**
 * A scale round what matters, and round the whole front.
 * @param {Objective} objective
 * @param {number[]} rows
 * @param {number[]} ahead Those of the front.
 */
function scale(objective, rows, ahead) {
  const values = rows.map((i) => Number(objective.values[i]));
  const smaller = objective.direction === "minimize";
  const log = positive(values) && wide(values, smaller);
  const [low, high] = reach(values, smaller, log);
  const own = ahead.map((i) => Number(objective.values[i]));
  const room = log ? (high / low) ** 0.05 : (high - low) * 0.05;
  const least = Math.min(...own);
  const most = Math.max(...own);
  /** @type {[number, number]} */
  const range = [
    Math.min(low, log ? least / room : least - room),
    Math.max(high, log ? most * room : most + room),
  ];
  return { log, range, marks: log ? { splits: () => logSplits(...range) } : {} };
}

/**
 * Says under the figure what the pointer is at.
 * @param {HTMLElement} figure
 * @param {any} data
 * @param {number | undefined} row
 */
function read(figure, data, row) {
  const line = figure.querySelector("[data-reading]");
  if (!(line instanceof HTMLElement)) return;
  const said = (/** @type {Objective} */ each) =>
    `${each.metric.replaceAll("_", " ")} ${written(Number(each.values[row ?? 0]))}`;
  line.textContent = row === undefined ? "" : `trial ${data.number[row]}: ${data.objectives.map(said).join(", ")}`;
}
