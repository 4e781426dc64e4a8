// What Python writes into the page. sdloop/show/page/page_data.py builds exactly this.

/** @typedef {[red: number, green: number, blue: number]} Color  0 to 255 each. */

/**
 * One row of the sampler's table.
 *
 * @typedef {object} TableRow
 * @property {number} timestep
 * @property {number} base_frame  The frame that the step starts from.
 * @property {number} signal_power  The signal's share of the power in the frame that it makes.
 * @property {"" | "tries" | "again" | "corrects"} mark  What sets it apart from a plain step.
 */

/**
 * What is known of a run before its first step.
 *
 * @typedef {object} RunFacts
 * @property {string} name  Of its folder.
 * @property {string} prompt
 * @property {[key: string, value: string][]} config  Every value, under dotted keys.
 * @property {number} delay_ms  How long playing shows a frame.
 * @property {number} hold_ms  How long it shows the last one.
 * @property {"image" | "global"} scale  Of the differences: each step's own, or one for all.
 * @property {number} height
 * @property {number} width
 * @property {TableRow[]} table
 * @property {number[]} stages  The steps that are marked, counted from 0.
 * @property {number | null} start_frame  Of another run, from which it starts; null for noise.
 * @property {string[]} columns  Names of the numbers that each step has.
 * @property {boolean} has_z0_hat
 * @property {boolean} small_decoder  Whether a small decoder drew z0_hat, not the VAE.
 * @property {WordFacts[] | null} words  Of the prompt; null where no attention was kept.
 */

/**
 * One word of a prompt, or what begins or ends its text.
 *
 * @typedef {object} WordFacts
 * @property {string} text
 * @property {boolean} apart  Whether it is the begin or the end.
 * @property {string} attention  The column of its share of all attention.
 * @property {string} change  The column of the change where it is attended, over chance.
 */

/**
 * What one step brings. Pictures are WebP files in base64. A run that is under way may leave the
 * pictures of a step out, for one who would fall behind; its own page has them all.
 *
 * @typedef {object} StepData
 * @property {string | null} frame  The picture after the step.
 * @property {string | null} difference  To the frame before, in grey: 255 stands for `peak`.
 * @property {string | null} sixteenths  Of its levels, plus 8, in grey: what rounding took from
 *   them, as far as it was kept.
 * @property {string | null} z0_hat  The clean picture that the step predicted.
 * @property {number} peak  The largest difference, in 8-bit levels.
 * @property {(number | null)[]} numbers  One for each of the run's columns.
 * @property {string | null} attention  The maps of all words side by side, in grey; null if none.
 */

/**
 * @typedef {object} LinkedFile
 * @property {string} name
 * @property {string} href
 */

/**
 * @typedef {object} StillData
 * @property {string} title
 * @property {string} caption
 * @property {string} src
 */

/**
 * @typedef {object} RunData
 * @property {RunFacts} facts
 * @property {string} start  Frame 0, as a step's pictures.
 * @property {StepData[]} steps
 * @property {number | null} quality  Of the pictures, 0 to 100; null if they are exact.
 * @property {LinkedFile[]} files
 * @property {StillData[]} stills  Pictures of the whole run.
 */

/**
 * One choice of the chart.
 *
 * @typedef {object} ChartData
 * @property {string} label
 * @property {string} note
 * @property {Record<string, string>} lines  Column -> name in the legend, "" for a single line.
 * @property {string} unit
 */

/**
 * How two runs differ from each other.
 *
 * @typedef {object} ComparisonData
 * @property {string[]} frames  The difference between both runs' frames, in grey: 255 stands for
 *   `peak` in all of them.
 * @property {number} peak  The largest difference of any frame, in 8-bit levels.
 * @property {string | null} words  Where the latents of two runs of one config part.
 */

/**
 * @typedef {object} PageData
 * @property {RunData[]} runs
 * @property {ComparisonData | null} comparison
 * @property {ChartData[]} charts
 * @property {Color[]} viridis  256 colours, dark to bright.
 * @property {string[]} shown_keys  Top-level config keys that change no row of a run.
 */

/**
 * Read the page's data.
 *
 * @returns {PageData}
 */
export function readData() {
  return JSON.parse(document.getElementById("data")?.textContent ?? "");
}
