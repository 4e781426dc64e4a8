// The strip of film under the scrubber: what the runs show at every position, in narrow cells.

/** @import { Runs } from "./runs.js" */
import { contextOf } from "./dom.js";

/**
 * Paint the film as far as frames have come.
 *
 * @param {HTMLCanvasElement} canvas
 * @param {Runs} runs
 */
export function paintFilm(canvas, runs) {
  canvas.width = Math.round(canvas.clientWidth * window.devicePixelRatio);
  canvas.height = Math.round(canvas.clientHeight * window.devicePixelRatio);
  const context = contextOf(canvas);
  context.imageSmoothingQuality = "high";
  const height = canvas.height / runs.filmed.length;
  for (const [number, run] of runs.filmed.entries()) {
    for (let position = 0; position <= runs.last; position++) {
      const left = Math.round((position * canvas.width) / runs.positions);
      const right = Math.round(((position + 1) * canvas.width) / runs.positions);
      const cell = new DOMRect(left, number * height, right - left, height);
      const frame = run.frames[runs.frameOf(run, position)];
      if (frame) paintCell(context, frame, cell);
    }
  }
}

/**
 * Paint the middle of a frame, as much of it as the cell's shape holds.
 *
 * @param {CanvasRenderingContext2D} context
 * @param {ImageBitmap} frame
 * @param {DOMRect} cell
 */
function paintCell(context, frame, { x, y, width, height }) {
  const shape = width / height;
  const cutWidth = Math.min(frame.width, frame.height * shape);
  const cutHeight = Math.min(frame.height, frame.width / shape);
  const cutLeft = (frame.width - cutWidth) / 2;
  const cutTop = (frame.height - cutHeight) / 2;
  context.drawImage(frame, cutLeft, cutTop, cutWidth, cutHeight, x, y, width, height);
}
