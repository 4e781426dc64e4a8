// One pixel's way through all steps: its colour as a band, its three channels, its differences.

const CHANNELS = ["red", "green", "blue"];

class PixelPlot {
  constructor(holder, run, shareOf) {
    this.run = run;
    this.shares = run.frames.map((_, frame) => shareOf(run, frame));
    // a cell reaches half-way to its neighbours
    const inner = this.shares.slice(1).map((share, frame) => (share + this.shares[frame]) / 2);
    this.edges = [0, ...inner, 1];
    this.words = document.createElement("p");
    this.words.className = "values";
    this.picture = svg("svg", { role: "img" });
    holder.append(this.words, this.picture);
    this.holder = holder;
  }

  show(x, y) {
    this.colors = this.run.colorsAt(x, y);
    this.differences = this.run.differencesAt(x, y);
    const width = this.picture.clientWidth;
    const left = (frame) => this.edges[frame] * width;
    const cell = (frame) => left(frame + 1) - left(frame);
    const band = this.colors.map((color, frame) => svg("rect", {
      x: left(frame), y: 0, width: cell(frame) + 0.5, height: 14, fill: `rgb(${color.join(" ")})`,
    }));
    const curves = CHANNELS.map((channel, at) => svg("path", {
      d: pathOf(this.colors.map((color, frame) => [this.shares[frame] * width, 72 - (color[at] / 255) * 50])),
      class: `line thin ${channel}`,
    }));
    const most = Math.max(...this.differences, 1);
    const bars = this.differences.map((value, row) => {
      const height = (value / most) * 30;
      const level = Math.round((value / most) * 255);
      return svg("rect", {
        x: left(row + 1) + 0.12 * cell(row + 1), y: 112 - height, width: 0.76 * cell(row + 1), height,
        fill: `rgb(${this.run.viridis[level].join(" ")})`,
      });
    });
    this.cursor = svg("line", { y1: 0, y2: 112, class: "cursor" });
    this.picture.setAttribute("viewBox", `0 0 ${width} 112`);
    this.picture.setAttribute("aria-label",
      `Colour and difference of pixel ${x}, ${y} over ${this.run.rows} steps`);
    this.picture.replaceChildren(
      ...band, svg("line", { x1: 0, x2: width, y1: 112, y2: 112, class: "grid" }), ...bars,
      this.cursor, ...curves,
    );
  }

  /** Say the pixel's values at a frame. */
  point(frame) {
    const share = this.shares[frame] * this.picture.clientWidth;
    this.cursor.setAttribute("x1", share);
    this.cursor.setAttribute("x2", share);
    const color = `rgb ${this.colors[frame].join(" ")}`;
    const difference = frame ? `, changed by ${written(this.differences[frame - 1])} of 255` : "";
    this.words.textContent = color + difference;
  }
}
