// Plots over the steps. All share the scrubber's horizontal axis: a position is a share of the width.

const SVG = "http://www.w3.org/2000/svg";

/** Make an SVG element. */
function svg(name, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

/** Write a number as a reader wants it: four digits, no trailing zeros. */
function written(value) {
  if (value === null || value === undefined) return "–";
  const digits = Math.abs(value) >= 1000 ? 0 : 4;
  return String(digits ? Number(value.toPrecision(digits)) : Math.round(value)).replace("-", "−");
}

/** Choose round numbers between two ends, about `count` of them. */
function roundSteps(low, high, count) {
  const raw = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = power * ([1, 2, 5, 10].find((factor) => factor * power >= raw) ?? 10);
  const first = Math.ceil(low / step);
  const last = Math.floor(high / step + 1e-9);
  return Array.from({ length: last - first + 1 }, (_, at) => Number(((first + at) * step).toPrecision(12)));
}

/** Choose the vertical axis: from zero where the numbers are sizes, with some air. */
function rangeOf(values) {
  let low = Math.min(...values);
  let high = Math.max(...values);
  if (low >= 0 && low < 0.6 * high) low = 0;
  if (low === high) [low, high] = [low - 0.5, high + 0.5];
  const air = (high - low) * 0.06;
  return [low === 0 ? 0 : low - air, high + air];
}

/** Write a path through points; a missing one interrupts it. */
function pathOf(points) {
  let pen = "M";
  return points
    .map(([x, y]) => {
      if (y === null) {
        pen = "M";
        return "";
      }
      const part = `${pen}${x.toFixed(2)} ${y.toFixed(2)}`;
      pen = "L";
      return part;
    })
    .join("");
}

/**
 * Lines over the steps.
 *
 * series: [{ name, color, dashed, points: [[share of the width, value or null, row]] }]
 */
class Chart {
  constructor(holder) {
    this.holder = holder;
    this.picture = svg("svg", { role: "img" });
    this.tip = document.createElement("div");
    this.tip.className = "tip";
    this.tip.hidden = true;
    holder.append(this.picture, this.tip);
  }

  show(series, label, marks) {
    this.series = series;
    const width = this.holder.clientWidth;
    const height = this.holder.clientHeight;
    const values = series.flatMap((line) => line.points.map((point) => point[1])).filter((value) => value !== null);
    const [low, high] = values.length ? rangeOf(values) : [0, 1];
    this.x = (share) => share * width;
    this.y = (value) => (value === null ? null : height - 1 - ((value - low) / (high - low)) * (height - 2));
    this.picture.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.picture.setAttribute("aria-label", label);
    this.dots = series.map((line) => svg("circle", { r: 4.5, class: `dot ${line.color}` }));
    this.hoverDots = series.map((line) => svg("circle", { r: 3.5, class: `dot hollow ${line.color}` }));
    this.hoverDots.forEach((dot) => dot.setAttribute("visibility", "hidden"));
    this.cursor = svg("line", { y1: 0, y2: height, class: "cursor" });
    const grid = roundSteps(low, high, 3).flatMap((value) => [
      svg("line", { x1: 0, x2: width, y1: this.y(value), y2: this.y(value), class: "grid" }),
      svg("text", { x: 2, y: this.y(value) - 4, class: "tick" }, written(value)),
    ]);
    const stages = marks.map((share) =>
      svg("line", { x1: this.x(share), x2: this.x(share), y1: 0, y2: height, class: "stage" }));
    const lines = series.map((line) => svg("path", {
      d: pathOf(line.points.map(([share, value]) => [this.x(share), this.y(value)])),
      class: `line ${line.color}${line.dashed ? " dashed" : ""}`,
    }));
    this.picture.replaceChildren(...stages, ...grid, this.cursor, ...lines, ...this.hoverDots, ...this.dots);
  }

  /** Put the cursor at a share of the width, a dot on each line's point `at[line]`. */
  point(share, at) {
    this.cursor.setAttribute("x1", this.x(share));
    this.cursor.setAttribute("x2", this.x(share));
    this.place(this.dots, at);
  }

  /** Show the values under the pointer; `text` is null where there is none. */
  hover(at, text) {
    this.tip.hidden = text === null;
    this.place(this.hoverDots, text === null ? this.series.map(() => -1) : at);
    if (text === null) return;
    this.tip.textContent = text;
    const [share] = this.series[0].points[Math.max(at[0], 0)];
    const room = this.holder.clientWidth - this.tip.offsetWidth;
    this.tip.style.left = `${Math.max(0, Math.min(room, this.x(share) + 12))}px`;
  }

  place(dots, at) {
    dots.forEach((dot, number) => {
      const point = this.series[number].points[at[number]];
      const there = point !== undefined && point[1] !== null;
      dot.setAttribute("visibility", there ? "visible" : "hidden");
      if (!there) return;
      dot.setAttribute("cx", this.x(point[0]));
      dot.setAttribute("cy", this.y(point[1]));
    });
  }
}
