/** What the page shares with Airflow's UI, which shows it in an iframe of the same origin: the theme, and links. */

/** @returns {Document | null} The document of Airflow's UI, or null if the page has a window of its own. */
function airflowDocument() {
  try {
    return window.parent === window ? null : window.parent.document;
  } catch {
    return null; // a frame of another origin
  }
}

/** Take the colors and the font of Airflow's UI, now and whenever the user changes the theme. */
export function followTheme() {
  const airflow = airflowDocument();
  const apply = () => {
    const theme = (airflow && themeOf(airflow)) ?? storedTheme();
    const { dataset, style } = document.documentElement;
    if (theme) dataset.theme = theme;
    else delete dataset.theme; // style.css follows prefers-color-scheme
    if (airflow && theme) {
      style.setProperty("--page", backgroundAround());
      style.setProperty("--font", getComputedStyle(airflow.body).fontFamily);
    }
  };
  apply();
  if (airflow) new MutationObserver(apply).observe(airflow.documentElement, { attributeFilter: ["class"] });
  window.addEventListener("storage", apply);
}

/** Return the color that Airflow's UI has behind the iframe; empty if there is none. */
function backgroundAround() {
  for (let node = window.frameElement; node; node = node.parentElement) {
    const color = getComputedStyle(node).backgroundColor;
    if (!/^transparent$|^rgba\(.*, 0\)$|\/ 0\)$/.test(color)) return color;
  }
  return "";
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
  const theme = stored("theme");
  return theme === "dark" || theme === "light" ? theme : null;
}

/**
 * Return the time zone that the user chose in Airflow's UI.
 *
 * @returns {string | undefined} Undefined for the zone of the browser.
 */
export function timeZone() {
  try {
    const zone = JSON.parse(stored("timezone") ?? "null");
    return new Intl.DateTimeFormat(undefined, { timeZone: zone ?? undefined }).resolvedOptions().timeZone;
  } catch {
    return undefined; // a name that this browser does not know
  }
}

/**
 * Return what Airflow's UI, which has the same origin, keeps in the browser.
 *
 * @param {string} key
 */
function stored(key) {
  try {
    return localStorage.getItem(key);
  } catch {
    return null; // storage is blocked
  }
}

/**
 * Let links with `data-leaves-frame` replace Airflow's UI, or open a tab, as their `target` says. The sandbox of the
 * iframe forbids both, and Airflow's own document may do them.
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
    airflow.body.append(link);
    link.click();
    link.remove();
  });
}

/** Return the address of Airflow's page around this one, or of Airflow. */
export function airflowAddress() {
  return airflowDocument()?.location.href ?? new URL("../../", import.meta.url).href;
}
