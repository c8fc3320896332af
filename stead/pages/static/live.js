// Open pages follow what changes: elements that come take the place of those with the same id.
//
//   <div data-live="/live?on=job&since=PLACE">      the stream of this page; a page has one
//   <ul id="jobs" data-live-list>                   a list, newest first (data-live-order="asc": last)
//   <li id="job-ID" data-live-in="jobs" data-live-key="KEY">   a row: goes to its place by its key
//   <li id="job-ID" data-live-gone>                 it is not (or no longer) in the list
//   <i data-live-cut="jobs" data-live-key="KEY">    what is older than KEY is not shown any more
//   <i data-live-clear="jobs">                      what does not come with this message is gone
//   <a data-live-more="jobs" href="...">            more rows: they are fetched and added at the end
(() => {
  "use strict";
  const at = document.querySelector("[data-live]");
  const stead = window.stead;
  const silentMs = 45000;
  let source = null, last = "", heard = 0, wait = 500, again = 0;

  // --- what comes in ------------------------------------------------------------------------------
  const inputs = "input:not([type=hidden]), textarea, select";
  const focusable = "a[href], button, summary, input:not([type=hidden]), textarea, select, [tabindex]";

  /** Put `next` in the place of `old`; what somebody typed, opened or stands on stays. */
  const replace = (old, next) => {
    const active = old.contains(document.activeElement) ? document.activeElement : null;
    const place = active && [...old.querySelectorAll(focusable)].indexOf(active);
    old.querySelectorAll("details").forEach((one, n) => {
      const its = one.id ? next.querySelector(`#${CSS.escape(one.id)}`) : next.querySelectorAll("details")[n];
      if (its) its.open = one.open;
    });
    old.querySelectorAll(inputs).forEach((one) => {
      const its = one.name && [...next.querySelectorAll(inputs)].find((other) => other.name === one.name);
      if (its && one.value !== one.defaultValue && "defaultValue" in one) its.value = one.value;
    });
    if (old.isEqualNode(next)) return;
    const marked = active && active.selectionStart !== undefined
      ? [active.selectionStart, active.selectionEnd] : null;
    old.replaceWith(next);
    window.htmx?.process(next);
    if (!active) return;
    const into = [...next.querySelectorAll(focusable)];
    const same = into.find((one) => one.id && one.id === active.id)
      || into.find((one) => one.textContent.trim() === active.textContent.trim() && one.tagName === active.tagName && one.name === active.name)
      || into[Math.min(place, into.length - 1)];
    if (same) {
      same.focus({ preventScroll: true });
      if (marked && marked[0] !== null && same.setSelectionRange) same.setSelectionRange(...marked);
    } else {
      next.tabIndex = -1;
      next.focus({ preventScroll: true });
    }
  };

  const pager = (name, any = false) => {
    const link = document.querySelector(`a[data-live-more="${CSS.escape(name)}"]`);
    return link && (any || !link.closest("[hidden]")) ? link : null;
  };
  const reachable = (name) => pager(name, true)?.closest("[hidden]")?.removeAttribute("hidden");

  const insert = (list, next) => {
    const up = list.dataset.liveOrder === "asc";
    const key = next.dataset.liveKey || "";
    // From the end at which the new ones come: mostly the first look finds the place.
    const rows = [...list.children];
    let before;
    if (up) {
      let n = rows.length;
      while (n > 0 && (rows[n - 1].dataset.liveKey || "") > key) n -= 1;
      before = rows[n] || null;
    } else {
      before = rows.find((row) => (row.dataset.liveKey || "") < key) || null;
      if (!before && rows.length && pager(list.id)) return; // it belongs to a later page
    }
    list.insertBefore(next, before);
    window.htmx?.process(next);
  };

  const most = 400; // rows of a list: what goes beyond is to be had by its pager

  const put = (html) => {
    const parsed = document.createElement("template");
    parsed.innerHTML = html;
    const all = [...parsed.content.children];
    const ids = new Set(all.map((one) => one.id).filter(Boolean));
    const lists = new Set();
    for (const next of all) {
      const { liveGone, liveCut, liveClear, liveIn, liveKey } = next.dataset;
      if (liveClear !== undefined) {
        for (const row of [...(document.getElementById(liveClear)?.children || [])]) {
          if (!ids.has(row.id)) row.remove();
        }
      } else if (liveCut !== undefined) {
        for (const row of [...(document.getElementById(liveCut)?.children || [])]) {
          if ((row.dataset.liveKey || "") < liveKey) { row.remove(); reachable(liveCut); }
        }
      } else if (liveGone !== undefined) {
        const old = document.getElementById(next.id);
        if (old?.contains(document.activeElement)) (old.nextElementSibling || old.previousElementSibling)?.querySelector(focusable)?.focus();
        old?.remove();
      } else {
        const old = document.getElementById(next.id);
        const list = liveIn && document.getElementById(liveIn);
        if (old) replace(old, next);
        else if (list) insert(list, next);
        if (list) lists.add(list);
      }
    }
    for (const list of lists) {
      if (list.dataset.liveOrder === "asc") continue;
      while (list.children.length > most) { list.lastElementChild.remove(); reachable(list.id); }
    }
    for (const link of document.querySelectorAll("a[data-live-more]")) older(link);
    stead?.tick();
    document.dispatchEvent(new CustomEvent("stead:live"));
  };

  /** The pager goes on behind what is the last row now. */
  const older = (link) => {
    const row = document.getElementById(link.dataset.liveMore)?.lastElementChild;
    if (!row?.dataset.liveKey) return;
    const url = new URL(link.href);
    url.searchParams.set("before", row.dataset.liveKey);
    link.href = url;
  };

  // --- the stream -----------------------------------------------------------------------------------
  const address = () => {
    const url = new URL(at.dataset.live, location);
    if (last) url.searchParams.set("since", last);
    const list = document.querySelector("[data-live-list]");
    const row = list?.dataset.liveOrder === "asc" ? null : list?.lastElementChild;
    if (row?.dataset.liveKey) url.searchParams.set("from", row.dataset.liveKey);
    return url;
  };
  const leave = () => { clearTimeout(again); source?.close(); source = null; };
  const later = () => {
    leave();
    stead?.lost(true);
    again = setTimeout(follow, wait + Math.random() * wait);
    wait = Math.min(wait * 2, 30000);
  };
  const note = (event) => { heard = Date.now(); if (event.lastEventId) last = event.lastEventId; };
  const follow = () => {
    leave();
    if (document.hidden) return;
    heard = Date.now();
    source = new EventSource(address());
    source.onopen = () => { heard = Date.now(); };
    source.onmessage = (event) => {
      note(event);
      wait = 500;
      stead?.lost(false);
      put(JSON.parse(event.data));
      at.dataset.liveSince = last;
    };
    source.addEventListener("beat", note);
    source.onerror = later;
  };
  if (at) {
    // A phone ends streams without a word, and a browser has six to a house: one that nobody looks
    // at is closed, and goes on where it was.
    document.addEventListener("visibilitychange", () => (document.hidden ? leave() : follow()));
    addEventListener("pagehide", leave);
    addEventListener("online", follow);
    setInterval(() => { if (source && Date.now() - heard > silentMs) later(); }, 5000);
    follow();
  }

  // --- more of a list -------------------------------------------------------------------------------
  document.addEventListener("click", async (event) => {
    const link = event.target.closest?.("a[data-live-more]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    event.preventDefault();
    if (link.dataset.busy !== undefined) return;
    link.dataset.busy = "";
    try {
      const answer = await fetch(link.href, { headers: { Accept: "text/html" } });
      if (!answer.ok) throw new Error(String(answer.status));
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const name = link.dataset.liveMore;
      const list = document.getElementById(name);
      const rows = [...(page.getElementById(name)?.children || [])].filter((row) => !document.getElementById(row.id));
      list.append(...rows);
      rows.forEach((row) => window.htmx?.process(row));
      const next = page.querySelector(`:not([hidden]) > a[data-live-more="${CSS.escape(name)}"]`);
      if (next) link.href = next.href; else (link.closest(".pager") || link).hidden = true;
      rows[0]?.querySelector(focusable)?.focus({ preventScroll: true });
      stead?.say(`${rows.length} more`);
      stead?.tick();
    } catch {
      stead?.toast("stead could not be reached. Try again.", "bad");
    } finally {
      delete link.dataset.busy;
    }
  });
})();
