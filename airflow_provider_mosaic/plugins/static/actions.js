/** Cancel and resume: a dialog that names the cost, then one request. */

import { RequestError, post } from "./api.js";
import { element } from "./elements.js";

/**
 * Ask for a confirmation, send the action once, and tell the result.
 *
 * @param {{name: string, label: string, url: string, cost: string}} action An `Action` of plugins/pages.py.
 * @param {string} csrf
 * @param {(text: string) => void} announce
 * @param {() => Promise<void>} refresh
 */
export function askAndSend(action, csrf, announce, refresh) {
  const send = element(
    "button",
    { type: "submit", class: `button ${action.name === "cancel" ? "danger" : "primary"}` },
    action.label,
  );
  const leave = element("button", { type: "button", class: "button", autofocus: true }, "Go back");
  const result = element("p", { class: "result", role: "alert" });
  const form = element(
    "form",
    { method: "dialog" },
    element("h2", { id: "question" }, `${action.label}?`),
    element("p", { id: "cost" }, action.cost),
    result,
    element("div", { class: "buttons" }, leave, send),
  );
  const dialog = /** @type {HTMLDialogElement} */ (
    element("dialog", { "aria-labelledby": "question", "aria-describedby": "cost" }, form)
  );
  leave.addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", () => dialog.remove());
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    send.toggleAttribute("disabled", true); // a second click would send it again
    send.textContent = "Sending";
    try {
      const { done, message } = await post(action.url, csrf);
      await refresh();
      if (!done) throw new RequestError(200, message);
      dialog.close();
      announce(message);
    } catch (error) {
      send.remove();
      leave.textContent = "Close";
      leave.focus();
      result.textContent = error instanceof RequestError ? failure(action, error) : String(error);
    }
  });
  document.body.append(dialog);
  dialog.showModal();
}

/**
 * @param {{label: string}} action
 * @param {RequestError} error
 */
function failure(action, error) {
  if (error.status === 0)
    return `Airflow did not respond. It is not known whether "${action.label}" had an effect: read the state on the page first.`;
  if (error.status === 401) return "Your login has expired. Nothing was sent to Mosaic. Log in to Airflow again.";
  return error.message;
}
