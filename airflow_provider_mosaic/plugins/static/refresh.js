/** Call a function again and again, while the tab is visible. */

import { RequestError, unexpected } from "./api.js";

/** Seconds until a failed call is repeated: the first pause is doubled up to the longest. */
const [FIRST_PAUSE, MAX_PAUSE] = [5, 120];

/**
 * Call `load` now, and again after each pause that it returns. Calls never overlap.
 *
 * @param {() => Promise<number | null>} load Returns the seconds until the next call, or null to stop.
 * @param {(error: RequestError, pause: number | null) => void} onError Called with the seconds until the next call, or
 *   null if the error is permanent, and the calls stop.
 * @returns {() => Promise<void>} A function that calls `load` at once, also after a stop.
 */
export function refreshing(load, onError) {
  let errors = 0;
  let timer = 0;
  /** @type {number | null} When the next call is due, in milliseconds; null if none is. */
  let due = null;
  /** @type {Promise<void> | null} */
  let underway = null;

  /** @param {number | null} pause Seconds. */
  function schedule(pause) {
    due = pause === null ? null : Date.now() + pause * 1000;
    wait();
  }

  function wait() {
    clearTimeout(timer);
    if (due !== null && !document.hidden) timer = setTimeout(now, Math.max(0, due - Date.now()));
  }

  function now() {
    underway ??= call().finally(() => (underway = null));
    return underway;
  }

  async function call() {
    schedule(null);
    try {
      const pause = await load();
      errors = 0;
      schedule(pause);
    } catch (error) {
      const known = error instanceof RequestError ? error : unexpected(error);
      const pause = known.isTemporary ? pauseAfter(errors++, known.retryAfter) : null;
      schedule(pause);
      onError(known, pause);
    }
  }

  document.addEventListener("visibilitychange", wait);
  now();
  return now;
}

/**
 * Return the seconds until a failed call is repeated.
 *
 * @param {number} errors Errors in a row before this one.
 * @param {number | null} retryAfter What the server asks for.
 */
function pauseAfter(errors, retryAfter) {
  return Math.max(Math.min(FIRST_PAUSE * 2 ** errors, MAX_PAUSE), retryAfter ?? 0);
}
