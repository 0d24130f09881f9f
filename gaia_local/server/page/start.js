// @ts-check
// Loads the page, and loads it again where a part of it didn't come: browsers drop requests while
// network interfaces come and go, and each container that starts or ends has one.

const TRIES = 6;
const PAUSE_MS = 500;
const COUNT = "gaia-local-tries";

/** How often this page was loaded in vain. */
function tries() {
  return Number(sessionStorage.getItem(COUNT) ?? 0);
}

/** @param {unknown} error */
async function again(error) {
  const before = tries();
  if (before >= TRIES) {
    sessionStorage.removeItem(COUNT);
    const told = document.createElement("p");
    told.className = "empty";
    told.textContent = "Parts of this page didn't come from the server. Load it again.";
    document.getElementById("view")?.replaceChildren(told);
    throw error;
  }
  sessionStorage.setItem(COUNT, String(before + 1));
  await new Promise((resolve) => { setTimeout(resolve, PAUSE_MS); });
  location.reload();
}

try {
  // One that didn't come is empty. Only our own: extensions of browsers add others.
  /** @type {NodeListOf<HTMLLinkElement>} */
  const styles = document.querySelectorAll("link[rel=stylesheet][href]:not([href*=':'])");
  const missing = [...styles].find(({ sheet }) => !sheet || sheet.cssRules.length === 0);
  if (missing !== undefined) throw new Error(`${missing.href} didn't come`);
  await import("./page.js");
  sessionStorage.removeItem(COUNT);
} catch (error) {
  await again(error);
}

export {};
