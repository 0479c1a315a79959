/** What the page shares with Airflow's UI, which shows it in an iframe of the same origin: the theme, and links. */

/** @returns {Document | null} The document of Airflow's UI, or null if the page has a window of its own. */
function airflowDocument() {
  try {
    return window.parent === window ? null : window.parent.document;
  } catch {
    return null; // a frame of another origin
  }
}

/** Take the theme of Airflow's UI, now and whenever the user changes it. */
export function followTheme() {
  const airflow = airflowDocument();
  const apply = () => {
    const theme = (airflow && themeOf(airflow)) ?? storedTheme();
    if (theme) document.documentElement.dataset.theme = theme;
    else delete document.documentElement.dataset.theme; // style.css follows prefers-color-scheme
  };
  apply();
  if (airflow) new MutationObserver(apply).observe(airflow.documentElement, { attributeFilter: ["class", "style"] });
  window.addEventListener("storage", apply);
}

/**
 * @param {Document} airflow
 * @returns {"dark" | "light" | null}
 */
function themeOf(airflow) {
  const { classList } = airflow.documentElement;
  if (classList.contains("dark")) return "dark";
  return classList.contains("light") ? "light" : null;
}

/**
 * Return the theme that Airflow's UI saved. Its third value, "system", is prefers-color-scheme.
 *
 * @returns {"dark" | "light" | null}
 */
function storedTheme() {
  try {
    const theme = localStorage.getItem("theme");
    return theme === "dark" || theme === "light" ? theme : null;
  } catch {
    return null; // storage is blocked
  }
}

/**
 * Let links with `data-leaves-frame` replace Airflow's UI, open a tab, or download, as their `target` and `download`
 * say. The sandbox of the iframe forbids all three, Airflow's own document may do them.
 */
export function letLinksLeaveFrame() {
  const airflow = airflowDocument();
  if (!airflow) return;
  document.addEventListener("click", (event) => {
    const target = event.target instanceof Element ? event.target.closest("a[data-leaves-frame]") : null;
    if (!(target instanceof HTMLAnchorElement) || event.defaultPrevented) return;
    event.preventDefault();
    const link = airflow.createElement("a");
    link.href = target.href;
    link.rel = "noopener";
    link.target = event.ctrlKey || event.metaKey || event.shiftKey ? "_blank" : target.target;
    if (target.hasAttribute("download")) link.download = target.download;
    airflow.body.append(link);
    link.click();
    link.remove();
  });
}

/** Return the address of Airflow's page around this one, or of Airflow. */
export function airflowAddress() {
  return airflowDocument()?.location.href ?? new URL("../../", import.meta.url).href;
}
