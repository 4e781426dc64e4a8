// Numbers as one reads them, and texts from outside that leave the words around them alone.

const TURNING = /[\p{Bidi_Control}\p{Script=Hebrew}\p{Script=Arabic}]/u;
const ISOLATES = /[\u2066-\u2069]/gu;

/**
 * Write a share in percent, with one decimal near the ends.
 *
 * @param {number} share
 */
export function percent(share) {
  return `${(100 * share).toFixed(share < 0.0995 || share > 0.9 ? 1 : 0)}%`;
}

/**
 * Write a number with four digits and no trailing zeros; a dash where there is none.
 *
 * @param {number | null | undefined} value
 */
export function written(value) {
  if (value === null || value === undefined) return "–";
  const rounded = Math.abs(value) >= 1000 ? Math.round(value) : Number(value.toPrecision(4));
  return String(rounded).replace("-", "−");
}

/**
 * Keep right-to-left marks in a text from turning the words around it.
 *
 * The text goes into an isolate (Unicode's annex 9), and its own isolates are balanced, so that it
 * can neither close that one nor leave it open.
 *
 * @param {string} text
 */
export function apart(text) {
  if (!TURNING.test(text)) return text;
  let open = 0;
  const balanced = text.replace(ISOLATES, (mark) => {
    if (mark !== "\u2069") open += 1;
    else if (open === 0) return "";
    else open -= 1;
    return mark;
  });
  return `\u2068${balanced}${"\u2069".repeat(open + 1)}`;
}
