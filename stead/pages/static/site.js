// What every room has: theme, dialogs, toasts, shortcuts, times, and word of a lost connection.
// Rooms use `stead.say`, `stead.toast`, `stead.ask`, `stead.lost`, `stead.on`.
(() => {
  "use strict";
  const root = document.documentElement;
  const one = (what, where = document) => where.querySelector(what);
  const all = (what, where = document) => [...where.querySelectorAll(what)];
  const make = (tag, more = {}, ...inside) => {
    const made = Object.assign(document.createElement(tag), more);
    made.append(...inside);
    return made;
  };
  root.dataset.js = "";

  // --- what a screen reader is told -----------------------------------------------------------
  /** Read words aloud to who uses a screen reader; nothing is shown. */
  const say = (words, now = false) => {
    const place = one(now ? "#told-now" : "#told");
    if (!place) return;
    place.textContent = "";
    setTimeout(() => { place.textContent = words; }, 60); // the same words twice are read twice
  };

  /** Show words at the edge for a while. kind: "good", "bad" or "". Stays while looked at. */
  const toast = (words, kind = "") => {
    const shelf = one("#toasts");
    if (!shelf || !words) return;
    const close = make("button", { type: "button", className: "icon", title: "Close" });
    close.setAttribute("aria-label", "Close");
    close.append(one("#x-mark").content.cloneNode(true));
    const shown = make("div", { className: `toast ${kind}` }, make("span", { textContent: words }), close);
    let timer;
    const go = () => shown.remove();
    const start = () => { timer = setTimeout(go, kind === "bad" ? 15000 : 6000); };
    close.onclick = go;
    shown.onpointerenter = shown.onfocus = () => clearTimeout(timer);
    shown.onpointerleave = start;
    start();
    while (shelf.children.length > 3) shelf.firstChild.remove();
    shelf.append(shown);
    say(words, kind === "bad");
  };

  // --- dialogs --------------------------------------------------------------------------------
  /** Ask yes or no; a promise of true or false. */
  const ask = (words, yes = "Yes") => new Promise((resolve) => {
    const dialog = one("#asked");
    one("p", dialog).textContent = words;
    one("[value=yes]", dialog).textContent = yes;
    dialog.returnValue = "";
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
    dialog.showModal();
  });

  document.addEventListener("click", (event) => {
    if (!(event.target instanceof Element)) return;
    const opener = event.target.closest("[data-dialog]");
    if (opener) one(`#${CSS.escape(opener.dataset.dialog)}`)?.showModal();
    const closer = event.target.closest("[data-close]");
    if (closer) closer.closest("dialog")?.close();
    if (event.target instanceof HTMLDialogElement) { // its backdrop
      const at = event.target.getBoundingClientRect();
      const inside = event.clientX >= at.left && event.clientX <= at.right
        && event.clientY >= at.top && event.clientY <= at.bottom;
      if (!inside && event.clientX + event.clientY > 0) event.target.close();
    }
    const copier = event.target.closest("[data-copy]");
    if (copier) copy(copier.dataset.copy || one(copier.dataset.copyFrom)?.innerText || "");
  });
  const copy = async (words) => {
    try {
      await navigator.clipboard.writeText(words);
      toast("Copied.", "good");
    } catch {
      toast("The browser did not let stead copy that. Mark it and copy it yourself.", "bad");
    }
  };

  // A form or a button with data-confirm asks first; for htmx the same stands in hx-confirm.
  let sure = null;
  document.addEventListener("submit", async (event) => {
    const form = event.target;
    const words = event.submitter?.dataset.confirm || form.dataset.confirm;
    if (!words || sure === form) { sure = null; return; }
    event.preventDefault();
    event.stopImmediatePropagation();
    const by = event.submitter;
    if (await ask(words, by?.dataset.yes || by?.textContent.trim() || "Yes")) {
      sure = form;
      form.requestSubmit(by);
    }
  }, true);
  document.addEventListener("htmx:confirm", async (event) => {
    event.preventDefault();
    const { ctx, issueRequest, dropRequest } = event.detail;
    const by = ctx.sourceElement;
    const yes = by?.dataset?.yes || (by?.tagName === "BUTTON" && by.textContent.trim()) || "Yes";
    if (await ask(ctx.confirm, yes)) issueRequest(); else dropRequest();
  });

  // --- theme: as the machine has it, light, dark ------------------------------------------------
  const themes = ["auto", "light", "dark"];
  const theme = () => root.dataset.theme || "auto";
  const paint = () => {
    for (const button of all("[data-theme-switch]")) {
      button.setAttribute("aria-label", `Colours: ${theme()}`);
      button.title = `Colours: ${theme()}`;
      for (const icon of all("[data-is]", button)) icon.hidden = icon.dataset.is !== theme();
    }
  };
  document.addEventListener("click", (event) => {
    if (!event.target.closest?.("[data-theme-switch]")) return;
    const next = themes[(themes.indexOf(theme()) + 1) % themes.length];
    if (next === "auto") delete root.dataset.theme; else root.dataset.theme = next;
    const kept = next === "auto" ? "; max-age=0" : "; max-age=31536000";
    document.cookie = `stead-theme=${next}; path=/; samesite=strict${kept}`;
    paint();
    say(`Colours: ${next}`);
    document.dispatchEvent(new CustomEvent("stead:theme", { detail: next }));
  });

  // --- keyboard -------------------------------------------------------------------------------
  // g and a letter: to a room. /: to the search. ?: what there is. j, k: through a list.
  // Any element with data-hotkey="n" is clicked by that key.
  let lead = 0;
  const typing = (at) => at?.closest?.("input, textarea, select, [contenteditable]");
  const off = () => localStorage.getItem("stead-keys") === "off";
  const step = (by) => {
    const items = all("[data-item]");
    const now = items.findIndex((item) => item.contains(document.activeElement));
    const next = items[Math.min(Math.max(now + by, 0), items.length - 1)];
    (next?.matches("a, button, [tabindex]") ? next : one("a, button, summary", next || root))?.focus();
    return items.length > 0;
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || off()) return;
    if (typing(event.target) || one("dialog[open]")) return;
    const key = event.key.toLowerCase();
    const soon = event.timeStamp - lead < 1500;
    lead = 0;
    let done = true;
    if (soon && /^[a-z]$/.test(key)) one(`.rail a[data-go="${key}"]`)?.click();
    else if (key === "g") lead = event.timeStamp;
    else if (key === "?") one("#keys")?.showModal();
    else if (key === "/" && one("[data-search]")) one("[data-search]").focus();
    else if (key === "j" || key === "k") done = step(key === "j" ? 1 : -1);
    else if (/^[a-z0-9]$/.test(key) && one(`[data-hotkey="${key}"]`)) one(`[data-hotkey="${key}"]`).click();
    else done = false;
    if (done) event.preventDefault();
  });
  const keySwitch = one("#keys-on");
  if (keySwitch) {
    keySwitch.checked = !off();
    keySwitch.onchange = () => localStorage.setItem("stead-keys", keySwitch.checked ? "on" : "off");
  }

  // --- times: said anew as they pass ------------------------------------------------------------
  const units = [[60, "s"], [60, "min"], [24, "h"], [7, "d"]];
  const ago = (at, now) => {
    let left = Math.abs(now - at) / 1000;
    if (left < 10) return "now";
    if (left >= 604800) return new Date(at).toLocaleDateString("sv");
    for (const [size, unit] of units) {
      if (left < size) return now > at ? `${Math.round(left)} ${unit} ago` : `in ${Math.round(left)} ${unit}`;
      left /= size;
    }
    return "";
  };
  // The page's own clock may be wrong: ages are counted from the time the server gave with it.
  const skew = Number(root.dataset.now || Date.now()) - Date.now() + performance.now();
  const tick = (where = document) => {
    const now = Date.now() + skew;
    for (const time of all("time[data-ms]", where)) {
      const at = Number(time.dataset.ms);
      const words = ago(at, now);
      if (time.textContent !== words) time.textContent = words;
      if (!time.title) time.title = new Date(at).toLocaleString();
    }
  };

  // --- the connection ---------------------------------------------------------------------------
  let down = null;
  /** Say that the connection is lost (true) or there again (false). */
  const lost = (gone) => {
    const sign = one("#wire");
    if (!sign) return;
    if (gone && !down) {
      down = setTimeout(() => {
        down = "shown";
        sign.textContent = navigator.onLine ? "The connection is lost; trying again." : "Offline. What you see may be old.";
        sign.hidden = false;
        say(sign.textContent);
      }, navigator.onLine ? 2500 : 0);
    } else if (!gone && down) {
      if (down === "shown") { sign.hidden = true; say("Back online."); }
      clearTimeout(down);
      down = null;
    }
  };
  addEventListener("offline", () => lost(true));
  addEventListener("online", () => lost(false));
  document.addEventListener("htmx:sse:error", () => lost(true));
  document.addEventListener("htmx:sse:after:connection", () => lost(false));
  addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });

  // --- answers to htmx --------------------------------------------------------------------------
  document.addEventListener("htmx:after:request", (event) => {
    const { response } = event.detail.ctx;
    const words = response.headers.get("stead-say");
    if (words) toast(decodeURIComponent(words), response.headers.get("stead-say-kind") || "good");
  });
  document.addEventListener("htmx:response:error", (event) => {
    const { ctx } = event.detail;
    if (ctx.response.status === 401) { location.reload(); return; } // to where one signs in
    if (ctx.response.status === 422 || ctx.response.headers.get("stead-say")) return;
    const words = one("[role=alert] h1", new DOMParser().parseFromString(ctx.text, "text/html"));
    toast(words?.textContent || `stead answered ${ctx.response.status}.`, "bad");
  });
  document.addEventListener("htmx:error", (event) => {
    if (event.detail.ctx && !event.detail.ctx.response) toast("stead could not be reached. Nothing was changed.", "bad");
  });
  document.addEventListener("htmx:after:swap", () => tick());

  paint();
  tick();
  setInterval(tick, 20000);
  if (!navigator.onLine) lost(true);
  if ("serviceWorker" in navigator && isSecureContext && root.dataset.worker) {
    navigator.serviceWorker.register(root.dataset.worker, { scope: "/" }).catch(() => {});
  }
  window.stead = { say, toast, ask, lost, tick, one, all, make };
})();
