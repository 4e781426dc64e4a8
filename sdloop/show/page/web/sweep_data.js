// What Python writes into a sweep's page. sdloop/show/page/sweep_data.py builds exactly this.

/** @import { Color, LinkedFile, RunFacts } from "./data.js" */

/**
 * In pixels.
 *
 * @typedef {object} Size
 * @property {number} width
 * @property {number} height
 */

/**
 * A run in small pictures. A kind's pictures are one WebP file in base64, in rows of equally many.
 *
 * @typedef {object} SmallRunData
 * @property {RunFacts} facts  Height and width are those of the small pictures.
 * @property {Size} size  Of the run's own pictures.
 * @property {number[]} levels  Each frame's noise level: 1 is noise alone, 0 a clean picture.
 * @property {number[]} peaks  Each difference's largest value, in 8-bit levels.
 * @property {string} frames
 * @property {string} differences  In grey: 255 stands for the difference's peak.
 * @property {string | null} z0_hat
 * @property {string | null} page  Leads to the run's own page.
 */

/**
 * What the rows or columns stand for.
 *
 * @typedef {object} SideData
 * @property {string} name
 * @property {string[]} labels
 */

/**
 * @typedef {object} SweepData
 * @property {SmallRunData[]} runs  Row by row.
 * @property {SideData} rows
 * @property {SideData} columns
 * @property {(number | null)[][]} cells  The number of the run in each; null where there is none.
 * @property {string[]} keys  The config keys that are varied.
 * @property {number} factor  By how much the pictures are smaller than the runs' own.
 * @property {number | null} quality  Of the pictures, 0 to 100.
 * @property {LinkedFile[]} files
 * @property {Color[]} viridis  256 colours, dark to bright.
 * @property {string[]} shown_keys  Top-level config keys that change no row of a run.
 */

/**
 * Read the page's data.
 *
 * @returns {SweepData}
 */
export function readSweepData() {
  return JSON.parse(document.getElementById("data")?.textContent ?? "");
}
