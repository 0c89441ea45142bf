// @ts-check
// The colours of figures, read from the style sheet so that there is one place for them.

/**
 * @typedef {{ink: string, muted: string, faint: string, paper: string, accent: string,
 *   warn: string, bad: string, ramp: string[], font: string}} Palette
 */

/** @returns {Palette} */
export function palette() {
  const style = getComputedStyle(document.documentElement);
  /** @param {string} name */
  const colour = (name) => style.getPropertyValue(name).trim();
  return {
    ink: colour("--ink"),
    muted: colour("--muted"),
    faint: colour("--faint"),
    paper: colour("--paper"),
    accent: colour("--accent"),
    warn: colour("--warn"),
    bad: colour("--bad"),
    ramp: [1, 2, 3, 4, 5].map((rank) => colour(`--series-${rank}`)),
    font: `13px ${getComputedStyle(document.body).fontFamily}`,
  };
}

/**
 * A number as figures write it: powers of ten where decimals would be long.
 * @param {number} value
 * @returns {string}
 */
export function written(value) {
  const size = Math.abs(value);
  if (value === 0) return "0";
  if (size < 1e-3 || size >= 1e5) {
    const exponent = Math.floor(Math.log10(size) + 1e-9);
    const mantissa = Number((value / 10 ** exponent).toPrecision(3));
    const power = `10${superscript(exponent)}`;
    return mantissa === 1 ? power : `${mantissa}×${power}`.replace("-", "−");
  }
  return String(Number(value.toPrecision(4))).replace("-", "−");
}

/** @param {number} exponent */
function superscript(exponent) {
  const digits = "⁰¹²³⁴⁵⁶⁷⁸⁹";
  return String(exponent).replace("-", "⁻").replace(/\d/g, (digit) => digits[Number(digit)]);
}
