/** How a state looks: an icon, the word, and a tone, whose color is in style.css. */

import { element, icon } from "./elements.js";
import { words } from "./format.js";

/** @typedef {"success" | "failed" | "partial" | "running" | "idle"} Tone */

/** @type {Record<string, Tone>} States of Mosaic's runs, tiles and posts, and of Airflow's task instances. */
const TONES = {
  completed: "success",
  posted: "success",
  success: "success",
  failed: "failed",
  error: "failed",
  rejected: "failed",
  upstream_failed: "failed",
  partial_complete: "partial",
  partial_failure: "partial",
  blocked: "partial",
  up_for_retry: "partial",
  running: "running",
  processing: "running",
  pending: "running",
  deferred: "running",
};

/** @type {Record<Tone, string>} */
const ICONS = { success: "completed", failed: "failed", partial: "partial", running: "running", idle: "waiting" };

/** @type {Record<string, string>} What Mosaic's words mean to a reader. */
const LABELS = { partial_complete: "partly completed", partial_failure: "partly failed", deferred: "waiting" };

/** @type {Record<string, Tone>} */
const OUTCOMES = { pending: "running", success: "success", partial: "partial", failed: "failed" };

/**
 * Return the tone of a state.
 *
 * @param {string} state
 * @param {string} [outcome] What the server says that the state means. Without it, an unknown state is idle.
 * @returns {Tone}
 */
export function toneOf(state, outcome) {
  return valueOf(TONES, state) ?? (outcome && OUTCOMES[outcome]) ?? "idle";
}

/** @param {string} state */
export function labelOf(state) {
  return valueOf(LABELS, state) ?? words(state);
}

/**
 * Return a value of a table. Mosaic may report any word as a status, also the name of a method, such as "constructor".
 *
 * @template T
 * @param {Record<string, T>} table
 * @param {string} key
 * @returns {T | undefined}
 */
function valueOf(table, key) {
  return Object.hasOwn(table, key) ? table[key] : undefined;
}

/**
 * Create the icon and the word of a state.
 *
 * @param {string} state
 * @param {string} [outcome]
 */
export function stateElement(state, outcome) {
  const tone = toneOf(state, outcome);
  const name = state === "cancelled" ? "cancelled" : ICONS[tone];
  return element("span", { class: "state", "data-tone": tone }, icon(name), capitalized(labelOf(state)));
}

/** @param {string} text */
export function capitalized(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
