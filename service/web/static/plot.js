// @ts-check
// What the charts have in common: size, axes and grid in the page's own ink.
import { palette, written } from "./palette.js";

/** uPlot comes as a classic script and stands in the window. */
export const uPlot = /** @type {any} */ (globalThis).uPlot;

/** @typedef {import("./palette.js").Palette} Palette */

/**
 * @param {Palette} colours
 * @param {string} label
 * @param {{side?: number, log?: boolean, size?: number, space?: number,
 *   values?: (values: number[]) => string[], splits?: () => number[]}} [own]
 */
export function axis(colours, label, own = {}) {
  /** @param {any} _plot @param {(number | null)[]} values */
  const values = (_plot, values) =>
    own.values ? own.values(/** @type {number[]} */ (values)) : values.map((v) => (v === null ? "" : written(v)));
  return {
    label,
    labelSize: 18,
    labelGap: 2,
    labelFont: colours.font,
    font: colours.font,
    stroke: colours.muted,
    side: own.side,
    size: own.size ?? (own.side === 3 ? 52 : 30),
    gap: 4,
    space: own.space ?? (own.side === 3 ? 34 : 56),
    grid: { show: own.side === 3, stroke: colours.faint, width: 1 },
    ticks: { stroke: colours.muted, width: 1, size: 4 },
    border: { show: true, stroke: colours.muted, width: 1 },
    values,
    // uPlot would blank most labels of a log scale; ours are few enough.
    ...(own.splits ? { splits: own.splits, filter: (/** @type {any} */ _, /** @type {number[]} */ splits) => splits } : {}),
  };
}

/**
 * A y scale round the values that matter, so that awful ones do not flatten the rest: the worst
 * tenth may leave the plate, and so may what is further from the median than twice the best is.
 * @param {number[]} values Finite.
 * @param {boolean} smaller Whether smaller is better.
 * @param {boolean} log
 * @param {boolean} [close] Whether the second holds; else the worst tenth alone may leave.
 * @returns {[number, number]}
 */
export function reach(values, smaller, log, close = false) {
  if (values.length === 0) return log ? [0.1, 1] : [0, 1];
  const sorted = [...values].sort((a, b) => a - b);
  const cut = Math.floor(sorted.length * 0.1);
  const median = sorted[Math.floor(sorted.length / 2)];
  const best = smaller ? sorted[0] : sorted[sorted.length - 1];
  // Where all but the best are equal, as when nothing learns, the median is no measure: a fifth is.
  const far = !close
    ? smaller ? Infinity : -Infinity
    : log
    ? median * (median / best || 1) ** 2 * (smaller ? 1.2 : 1 / 1.2)
    : median + 2 * (median - best) + (smaller ? 0.2 : -0.2) * Math.abs(median);
  const low = smaller ? best : Math.max(sorted[cut], Math.min(far, median));
  const high = smaller ? Math.min(sorted[sorted.length - 1 - cut], Math.max(far, median)) : best;
  if (log) {
    const room = Math.max((high / low) ** 0.06, 1.02);
    return [low / room, high * room];
  }
  const room = Math.max((high - low) * 0.06, Math.abs(high) * 0.01, 1e-9);
  return [low - room, high + room];
}

/**
 * Whether a log scale can show these values.
 * @param {(number | null)[]} values
 */
export function positive(values) {
  return values.some((v) => v !== null) && values.every((v) => v === null || v > 0);
}

/**
 * Whether values spread so far that a log scale shows them better: the median is more than three
 * times the best, or the other way round.
 * @param {(number | null)[]} values
 * @param {boolean} smaller Whether smaller is better.
 */
export function wide(values, smaller) {
  const sorted = /** @type {number[]} */ (values.filter((v) => v !== null)).sort((a, b) => a - b);
  const median = sorted[Math.floor(sorted.length / 2)];
  return smaller ? median > 3 * sorted[0] : sorted[sorted.length - 1] > 3 * median;
}

/**
 * The places of a log scale's marks: as many of 1, 2, 5 times powers of ten as are readable.
 * @param {number} low
 * @param {number} high
 */
export function logSplits(low, high) {
  const decades = Math.log10(high / low);
  const steps = decades > 3 ? [1] : decades > 1.2 ? [1, 3] : decades > 0.5 ? [1, 2, 5] : [1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9];
  /** @type {number[]} */
  const found = [];
  for (let e = Math.floor(Math.log10(low)); e <= Math.ceil(Math.log10(high)); e++) {
    for (const step of steps) {
      const value = step * 10 ** e;
      if (value >= low && value <= high) found.push(value);
    }
  }
  if (found.length >= 2) return found;
  return [0, 1, 2, 3, 4].map((k) => Number((low + ((high - low) * k) / 4).toPrecision(3)));
}

/**
 * Puts a chart into a holder and returns how to take it away.
 * @param {HTMLElement} holder
 * @param {any} options
 * @param {any} data
 */
export function place(holder, options, data) {
  const plot = new uPlot(
    { width: Math.max(holder.clientWidth, 200), legend: { show: false }, ...options },
    data,
    holder,
  );
  return () => plot.destroy();
}

/**
 * Says a figure's gist in its caption.
 * @param {HTMLElement} figure
 * @param {string} sentence
 */
export function summarise(figure, sentence) {
  const place = figure.querySelector("[data-summary]");
  if (place) place.textContent = sentence;
}

export { palette, written };
