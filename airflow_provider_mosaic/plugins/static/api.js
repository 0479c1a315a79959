/** Requests to the JSON API behind the pages (plugins/pages.py). All addresses are relative to where Airflow is mounted. */

/** The address of the plugin's app, for example https://airflow.example.org/prefix/mosaic/ */
export const ROOT = new URL("../", import.meta.url);

/** A slow response counts as an error after this time, in milliseconds. */
const TIMEOUT = 60_000;

/** A response that is not 2xx, or none. */
export class RequestError extends Error {
  /**
   * @param {number} status 0 without a response.
   * @param {string} message
   * @param {number | null} retryAfter Seconds.
   */
  constructor(status, message, retryAfter = null) {
    super(message);
    this.status = status;
    this.retryAfter = retryAfter;
  }

  /** Whether the same request can succeed later without a change by the user. */
  get isTemporary() {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }
}

/**
 * Turn an error of this page's own code into one that can be shown.
 *
 * @param {unknown} error
 */
export function unexpected(error) {
  console.error(error);
  return new RequestError(400, "This page has an error, which the browser's console shows.");
}

/**
 * Return the JSON of a GET.
 *
 * @param {string} path Relative to ROOT.
 * @returns {Promise<any>}
 */
export function get(path) {
  return request(path, { method: "GET" });
}

/**
 * Send a POST without a body, and return the JSON of its response. It is never repeated.
 *
 * @param {string} path Relative to ROOT.
 * @param {string} csrf
 * @returns {Promise<any>}
 */
export function post(path, csrf) {
  return request(path, { method: "POST", headers: { "X-CSRF-Token": csrf } });
}

/**
 * @param {string} path
 * @param {RequestInit} options
 */
async function request(path, options) {
  let response;
  try {
    response = await fetch(new URL(path, ROOT), {
      ...options,
      headers: { Accept: "application/json", ...options.headers },
      credentials: "same-origin",
      cache: "no-store",
      redirect: "error",
      signal: AbortSignal.timeout(TIMEOUT),
    });
  } catch {
    throw new RequestError(0, "Airflow did not respond.");
  }
  const body = await response.json().catch(() => null);
  if (!response.ok || body === null) {
    const detail = typeof body?.detail === "string" ? body.detail : `Airflow responded with status ${response.status}.`;
    throw new RequestError(response.status, detail, secondsOf(response.headers.get("Retry-After")));
  }
  return body;
}

/** @param {string | null} header */
function secondsOf(header) {
  const seconds = Number(header);
  return header && Number.isFinite(seconds) && seconds >= 0 ? seconds : null;
}
