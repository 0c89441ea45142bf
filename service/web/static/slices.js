// @ts-check
// One small plate per searched number: the objective of complete trials against it.
import { axis, logSplits, palette, place, positive, reach } from "./plot.js";

/** @typedef {{log: boolean, choices: string[] | null, values: (number | string | null)[]}} Parameter */

/** @type {import("./figures.js").Draw} */
export function slicePlots(figure, data) {
  const holder = /** @type {HTMLElement} */ (figure.querySelector(".grid"));
  const rows = [...data.number.keys()].filter((i) => data.state[i] === "COMPLETE" && data.value[i] !== null);
  const smaller = data.direction === "minimize";
  const ranked = [...rows].sort((a, b) => (smaller ? 1 : -1) * (data.value[a] - data.value[b]));
  const best = new Set(ranked.slice(0, Math.ceil(ranked.length / 10)));
  const parameters = Object.entries(data.parameters);
  // All plates stand before the first is drawn: their number decides their width.
  const plates = parameters.map(() => document.createElement("div"));
  plates.forEach((plate) => (plate.className = "canvas"));
  holder.replaceChildren(...plates);
  weigh(figure, rows.length);
  const removals = parameters.map(([name, parameter], i) =>
    slice(plates[i], name, /** @type {Parameter} */ (parameter), data, rows, best),
  );
  return () => removals.forEach((remove) => remove());
}

/** Below this many complete trials the service gives no weights. */
const LEAST_TRIALS = 10;

/**
 * Says in the caption how much each number matters. Weighing costs the server up to a second, so
 * it is asked again only when there are twice as many trials as the last time.
 * @param {HTMLElement} figure
 * @param {number} trials
 */
async function weigh(figure, trials) {
  const place = figure.querySelector("[data-importances]");
  const asked = Number(figure.dataset.weighed ?? 0);
  if (!place || !figure.dataset.importance || trials < Math.max(LEAST_TRIALS, 2 * asked)) return;
  figure.dataset.weighed = String(trials);
  try {
    const response = await fetch(figure.dataset.importance);
    if (!response.ok) return;
    /** @type {{items: {name: string, importance: number}[]}} */
    const { items } = await response.json();
    const shares = items.map((item) => `${item.name.replaceAll("_", " ")} ${item.importance.toFixed(2)}`);
    if (shares.length) place.textContent = `Share in reaching that tenth (PED-ANOVA): ${shares.join(", ")}.`;
  } catch {
    // The server is away for a moment; the next doubling asks again.
  }
}

/**
 * @param {HTMLElement} plate
 * @param {string} name
 * @param {Parameter} parameter
 * @param {any} data
 * @param {number[]} rows
 * @param {Set<number>} best
 */
function slice(plate, name, parameter, data, rows, best) {
  const colours = palette();
  const choices = parameter.choices;
  /** @param {number} i */
  const at = (i) => (choices ? choices.indexOf(String(parameter.values[i])) : Number(parameter.values[i]));
  const known = rows.filter((i) => parameter.values[i] !== null).sort((a, b) => at(a) - at(b));
  const values = known.map((i) => data.value[i]);
  const log = positive(values);
  const [low, high] = reach(values, data.direction === "minimize", log);
  const first = known.length ? at(known[0]) : 0;
  const last = known.length ? at(known[known.length - 1]) : 1;
  const wide = parameter.log && first > 0;
  const room = wide ? (last / first) ** 0.04 : (last - first) * 0.04 || 0.5;
  const [left, right] = wide ? [first / room, last * room] : [first - room, last + room];
  const options = {
    height: 200,
    padding: [8, 10, 0, 0],
    scales: {
      x: { time: false, distr: wide ? 3 : 1, range: () => [left, Math.max(right, left + 1e-12)] },
      y: { distr: log ? 3 : 1, range: () => [low, high] },
    },
    axes: [
      axis(colours, name.replaceAll("_", " "), {
        side: 2,
        size: 32,
        ...(wide ? { splits: () => logSplits(left, right) } : {}),
        ...(choices ? { splits: () => [...choices.keys()], values: (v) => v.map((k) => choices[k] ?? "") } : {}),
      }),
      axis(colours, "", { side: 3, ...(log ? { splits: () => logSplits(low, high) } : {}) }),
    ],
    series: [{}, points(colours.muted, 4), points(colours.accent, 6)],
    cursor: { show: false },
  };
  return place(plate, options, [
    known.map(at),
    known.map((i) => (best.has(i) ? null : data.value[i])),
    known.map((i) => (best.has(i) ? data.value[i] : null)),
  ]);
}

/**
 * @param {string} colour
 * @param {number} size
 */
function points(colour, size) {
  return { stroke: colour, paths: () => null, points: { show: true, size, width: 0, fill: colour, space: 0 } };
}
