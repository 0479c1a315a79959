/** Call a function again and again, while the tab is visible. */

/** Seconds between calls that fail: doubled from the first to the second value. */
const [FIRST_PAUSE, LONGEST_PAUSE] = [5, 120];

/**
 * Call `load` now and after each pause that it returns. There is never more than one call under way.
 *
 * @param {() => Promise<number | null>} load Returns the seconds until the next call, or null to stop.
 * @param {(error: any, pause: number | null) => void} onError Called with the seconds until the next call, or null if the
 *   error is permanent and the calls stop.
 * @returns {() => Promise<void>} A function that calls `load` at once, also after a stop.
 */
export function refreshing(load, onError) {
  let errors = 0;
  let timer = 0;
  /** @type {number | null} When the next call is due, in milliseconds. */
  let due = null;
  /** @type {Promise<void> | null} */
  let underway = null;

  const run = async () => {
    try {
      const pause = await load();
      errors = 0;
      schedule(pause);
    } catch (error) {
      const permanent = error instanceof Error && "isTemporary" in error && !error.isTemporary;
      const pause = permanent ? null : Math.max(FIRST_PAUSE * 2 ** Math.min(errors, 10), error?.retryAfter ?? 0);
      errors += 1;
      const bounded = pause === null ? null : Math.min(pause, Math.max(LONGEST_PAUSE, error?.retryAfter ?? 0));
      schedule(bounded);
      onError(error, bounded);
    }
  };
  const now = () => {
    clearTimeout(timer);
    due = null;
    underway ??= run().finally(() => {
      underway = null;
    });
    return underway;
  };
  /** @param {number | null} seconds */
  const schedule = (seconds) => {
    clearTimeout(timer);
    due = seconds === null ? null : Date.now() + seconds * 1000;
    if (due !== null && !document.hidden) timer = setTimeout(now, seconds * 1000);
  };
  document.addEventListener("visibilitychange", () => {
    clearTimeout(timer);
    if (!document.hidden && due !== null) timer = setTimeout(now, Math.max(0, due - Date.now()));
  });
  now();
  return now;
}
