// The chat room: words appear as they are written, and what is typed is never lost.
// One stream of the conversation, with ids; what is sent waits in the browser until it is recorded.
(() => {
  "use strict";
  const { say, toast, lost, tick, one, all, make } = window.stead;
  const talk = one("#talk");
  if (!talk) return;
  const session = talk.dataset.session;
  const log = one("#log"), end = one("#end"), form = one("#compose"), text = one("#text");
  const standing = one("#standing"), older = one("#older"), stop = one("#stop");
  // Characters that turn the direction of writing: as in chat/markdown.py.
  const TURNS = /[\u202a-\u202e\u2066-\u2069\u061c\u200e\u200f\u2028\u2029]/g;
  const KEEP = 300, MOST = 600; // messages in the page, at the bottom and while one reads older ones
  const box = `stead-out:${talk.dataset.person}:`, draft = `stead-draft:${talk.dataset.person}:${session}`;
  const past = Number(talk.dataset.before) > 0; // a page of older messages: nothing is appended
  let cut = past; // newer ones than are in the page were let go
  let last = "", after = Number(talk.dataset.after);
  let running = false;

  // --- scrolling ---------------------------------------------------------------------------
  let bottom = !past;
  let moving = 0;
  log.addEventListener("scroll", () => {
    bottom = log.scrollHeight - log.scrollTop - log.clientHeight < 80;
    if (log.scrollTop < 600) more();
  }, { passive: true });
  const follow = () => {
    if (!bottom || moving) return;
    moving = requestAnimationFrame(() => { moving = 0; log.scrollTop = log.scrollHeight; });
  };
  const messages = () => log.querySelectorAll(":scope > .msg[data-seq]");

  // --- older messages, as far as one goes back ------------------------------------------------
  let fetching = false;
  const more = async () => {
    const first = one(".msg[data-seq]", log);
    if (fetching || older.hidden || !first) return;
    fetching = true;
    try {
      const answer = await fetch(`/chat/older?s=${encodeURIComponent(session)}&before=${first.dataset.seq}`);
      if (!answer.ok) return;
      const from = make("template");
      from.innerHTML = await answer.text(); // made and cleaned by our own server
      const height = log.scrollHeight, top = log.scrollTop;
      all(".msg", from.content).forEach(dress);
      older.after(from.content);
      older.hidden = !answer.headers.get("Stead-More");
      log.scrollTop = top + log.scrollHeight - height;
      tick(log);
      const there = messages();
      if (there.length > MOST) {
        for (let n = MOST; n < there.length; n++) there[n].remove();
        cut = true;
        one("#newest").hidden = false;
      }
    } catch { /* the line is away: the next scroll asks again */ } finally { fetching = false; }
  };
  const trim = () => {
    if (!bottom) return;
    const there = messages();
    if (there.length <= KEEP + 50) return;
    for (let n = 0; n < there.length - KEEP; n++) there[n].remove();
    older.hidden = false;
    const first = one(".msg[data-seq]", log);
    one("a", older).href = `/chat?s=${encodeURIComponent(session)}&before=${first.dataset.seq}`;
  };

  // --- one message -----------------------------------------------------------------------------
  const copyable = (pre) => {
    if (pre.parentElement.classList.contains("code")) return;
    const button = make("button", { type: "button", className: "icon", title: "Copy" });
    button.setAttribute("aria-label", "Copy the code");
    button.dataset.do = "copy-code";
    button.append(one("#talk [data-do=copy] svg")?.cloneNode(true) || "⧉");
    const around = make("div", { className: "code" });
    pre.replaceWith(around);
    pre.tabIndex = 0;
    around.append(pre, button);
  };
  const dress = (msg) => {
    all(".said pre", msg).forEach(copyable);
    return msg;
  };
  all(".msg", log).forEach(dress);

  const liveOf = (job) => one(`.msg.live[data-live="${CSS.escape(job)}"]`, log);
  const begin = (job) => {
    const body = make("div", { className: "body plain", dir: "auto" });
    body.append(document.createTextNode(""));
    const made = make("article", { className: "msg assistant live" },
      make("header", { className: "small quiet" }, make("h2", { className: "who", textContent: "stead" })),
      make("ul", { className: "doing" }), body);
    made.dataset.live = job;
    one("#nothing")?.remove();
    standing.before(made);
    return made;
  };
  const token = ({ job, text: words }) => {
    if (cut) return;
    const place = (liveOf(job) || begin(job)).querySelector(".body").firstChild;
    place.appendData(words.replace(TURNS, ""));
    follow();
  };
  const doing = ({ job, text: words }) => {
    if (cut) return;
    const list = one(".doing", liveOf(job) || begin(job));
    list.append(make("li", { textContent: words.replace(TURNS, "") }));
    while (list.children.length > 6) list.firstChild.remove();
    follow();
  };
  const message = (told) => {
    after = Math.max(after, told.seq);
    if (told.job_id && told.role !== "owner") liveOf(told.job_id)?.remove();
    if (told.role === "owner" && told.external_id.startsWith("page:")) taken(told.external_id.slice(5));
    if (one(`#m${told.seq}`)) return;
    if (told.replaces) {
      const old = one(`.msg[data-id="${CSS.escape(told.replaces)}"]`, log);
      const turn = Number(old?.dataset.turn || 0);
      if (turn) messages().forEach((msg) => {
        const at = Number(msg.dataset.turn);
        if (at >= turn && at < told.turn) msg.classList.add("old");
      });
    }
    if (!cut) {
      const from = make("template");
      from.innerHTML = told.html; // made and cleaned by our own server
      one("#nothing")?.remove();
      const msg = dress(from.content.firstElementChild);
      (one(".msg.live, .msg.waits", log) || standing).before(msg);
      tick(msg);
      trim();
      follow();
    }
    if (told.words) say(`${told.role === "assistant" ? "stead" : "Notice"}: ${told.words}`);
  };
  const state = (told) => {
    running = told.jobs.some((job) => job.state === "running" || job.state === "queued");
    stop.hidden = !running;
    const badge = one("#state");
    badge.textContent = told.state;
    badge.className = `badge ${{ running: "busy", ended: "off" }[told.state] || "good"}`;
    const title = one("#title bdi");
    if (told.title && title.textContent !== told.title) {
      title.textContent = told.title;
      document.title = told.title;
    }
    const there = new Set(told.jobs.filter((job) => job.state !== "waiting").map((job) => job.id));
    all(".msg.live", log).forEach((msg) => there.has(msg.dataset.live) || msg.remove());
    const typing = standing.contains(document.activeElement);
    const asks = told.waiting && !standing.querySelector(".ask");
    if (!typing) standing.innerHTML = told.html; // made by our own server
    if (asks) say("stead asks you for a word before it goes on.", true);
    follow();
  };

  // --- the stream --------------------------------------------------------------------------------
  let source = null, heard = 0, away = 0, waits = 500;
  const disconnect = () => { source?.close(); source = null; };
  const connect = () => {
    disconnect();
    if (document.visibilityState === "hidden") return;
    const asked = new URLSearchParams({ s: session, after });
    if (last) asked.set("last", last);
    const mine = source = new EventSource(`/chat/events?${asked}`);
    heard = Date.now();
    const on = (name, does) => mine.addEventListener(name, (event) => {
      if (mine !== source) return;
      heard = Date.now();
      if (event.lastEventId) last = event.lastEventId;
      does(JSON.parse(event.data));
    });
    mine.onopen = () => { heard = Date.now(); waits = 500; clearTimeout(away); away = 0; lost(false); flush(); };
    mine.onerror = () => {
      if (mine !== source) return;
      disconnect();
      away = away || setTimeout(() => lost(true), 2500);
      setTimeout(() => source || connect(), waits);
      waits = Math.min(waits * 2, 8000);
    };
    on("message", message);
    on("token", token);
    on("tool", doing);
    on("note", doing);
    on("reset", ({ job }) => {
      const live = liveOf(job);
      if (live) { one(".body", live).firstChild.data = ""; one(".doing", live).replaceChildren(); }
    });
    on("state", state);
    on("beat", () => {});
    on("refused", () => { last = ""; });
  };
  setInterval(() => { if (source && Date.now() - heard > 40000) connect(); }, 5000);
  // Phones silence a page and its streams; whoever looks again sees what there is now.
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "visible") connect(); else disconnect();
  });
  addEventListener("pageshow", (event) => { if (event.persisted) connect(); });
  addEventListener("online", connect);
  addEventListener("pagehide", disconnect);

  // --- what is typed -------------------------------------------------------------------------------
  const bytes = (many) => Array.from(crypto.getRandomValues(new Uint8Array(many)), (n) => n.toString(16).padStart(2, "0")).join("");
  const kept = (key) => { try { return JSON.parse(localStorage.getItem(key) || "null"); } catch { return null; } };
  const keep = (key, value) => {
    try {
      if (value === null) localStorage.removeItem(key); else localStorage.setItem(key, JSON.stringify(value));
      return true;
    } catch { return false; } // no room: it is held here while the page is open
  };
  const held = new Map(); // what waits to be sent, by token
  const waiting = () => {
    for (let n = 0; n < localStorage.length; n++) {
      const key = localStorage.key(n);
      if (key.startsWith(box)) { const what = kept(key); if (what && !held.has(what.token)) held.set(what.token, what); }
    }
    return [...held.values()].sort((a, b) => a.at - b.at);
  };
  const show = (what, wrong = "") => {
    if (what.s !== session || cut) return;
    let msg = one(`.msg.waits[data-token="${what.token}"]`, log);
    if (!msg) {
      msg = make("article", { className: "msg owner waits" },
        make("header", { className: "small quiet" }, make("h2", { className: "who", textContent: "You" }), make("span", { className: "how" })),
        make("div", { className: "body plain", dir: "auto", textContent: what.text.slice(0, 20000) }));
      msg.dataset.token = what.token;
      one("#nothing")?.remove();
      standing.before(msg);
    }
    one(".how", msg).textContent = wrong || "on its way";
    if (wrong && !one("[data-do=back]", msg)) {
      const back = make("button", { type: "button", className: "plain", textContent: "Take it back" });
      back.dataset.do = "back";
      msg.append(back);
    }
    follow();
  };
  const taken = (mark) => {
    held.delete(mark);
    keep(box + mark, null);
    one(`.msg.waits[data-token="${CSS.escape(mark)}"]`, log)?.remove();
  };
  let flushing = false, again = 0;
  const flush = async () => {
    if (flushing) return;
    flushing = true;
    clearTimeout(again);
    try {
      for (const what of waiting()) {
        if (what.wrong) { show(what, what.wrong); continue; }
        show(what);
        const answer = await fetch("/chat/say", {
          method: "POST", headers: { "Content-Type": "application/json", Accept: "application/json" },
          body: JSON.stringify({ s: what.s, text: what.text, token: what.token, replaces: what.replaces, files: what.files }),
        });
        if (answer.ok) {
          keep(box + what.token, null);
          held.delete(what.token);
          if (what.s !== session) continue;
          const msg = one(`.msg.waits[data-token="${what.token}"] .how`, log);
          if (msg) msg.textContent = "";
        } else if (answer.status >= 500 || answer.status === 401 || answer.status === 429 || answer.status === 408) {
          throw new Error("later");
        } else {
          what.wrong = (await answer.json().catch(() => null))?.error?.message || `It was not taken (${answer.status}).`;
          keep(box + what.token, what);
          show(what, what.wrong);
        }
      }
    } catch {
      for (const what of held.values()) if (!what.wrong) show(what, "waits for the line");
      again = setTimeout(flush, 3000);
    } finally { flushing = false; }
  };

  const sendIt = () => {
    const files = [];
    const told = new CustomEvent("chat:sending", { detail: { files }, cancelable: true });
    if (!form.dispatchEvent(told)) return;
    if (!text.value.trim() && !files.length) return;
    const what = {
      s: session, text: text.value, token: bytes(12), replaces: form.elements.replaces.value,
      files: files.join(" "), at: Date.now(),
    };
    held.set(what.token, what);
    keep(box + what.token, what);
    text.value = "";
    keep(draft, null);
    leave();
    if (cut) { flush().then(() => { location.href = `/chat?s=${encodeURIComponent(session)}`; }); return; }
    bottom = true;
    show(what);
    form.dispatchEvent(new CustomEvent("chat:taken"));
    flush();
  };
  const halt = async () => {
    stop.hidden = true;
    const answer = await fetch("/chat/stop", {
      method: "POST", headers: { "Content-Type": "application/json", Accept: "application/json" }, body: JSON.stringify({ s: session }),
    }).catch(() => null);
    if (answer?.ok) say("Stopped.");
    else { stop.hidden = !running; toast("It could not be stopped: the line is away.", "bad"); }
  };
  const edit = (msg) => {
    form.elements.replaces.value = msg.dataset.id;
    one("#editing").hidden = false;
    text.value = one(".body", msg).textContent;
    text.focus();
  };
  const leave = () => {
    form.elements.replaces.value = "";
    one("#editing").hidden = true;
  };

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (event.submitter === stop) halt(); else sendIt();
  });
  const coarse = matchMedia("(pointer: coarse)");
  text.addEventListener("keydown", (event) => {
    if (event.isComposing) return;
    if (event.key === "Enter" && !event.shiftKey && !coarse.matches) {
      event.preventDefault();
      sendIt();
    } else if (event.key === "ArrowUp" && !text.value) {
      const mine = all(".msg.owner[data-id]:not(.old)", log).pop();
      if (mine && !mine.querySelector("p.small a[href^='/chat/message/']")) { event.preventDefault(); edit(mine); }
    }
  });
  talk.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || event.isComposing) return;
    if (!one("#editing").hidden) { leave(); text.value = ""; keep(draft, null); } else if (running) halt();
  });
  text.addEventListener("input", () => keep(draft, text.value || null));

  const copy = async (words) => {
    try { await navigator.clipboard.writeText(words); toast("Copied.", "good"); } catch { toast("The browser does not let it be copied.", "bad"); }
  };
  log.addEventListener("click", (event) => {
    const button = event.target instanceof Element && event.target.closest("[data-do]");
    if (!button) return;
    const msg = button.closest(".msg");
    switch (button.dataset.do) {
      case "copy": copy(one(".body", msg).innerText); break;
      case "copy-code": copy(one("pre", button.parentElement).innerText); break;
      case "edit":
        if (one("p.small a[href^='/chat/message/']", msg)) toast("It is too long to be edited here.", "bad"); else edit(msg);
        break;
      case "open": msg.classList.toggle("open"); break;
      case "back": {
        const what = held.get(msg.dataset.token);
        if (what) text.value = text.value ? `${text.value}\n${what.text}` : what.text;
        taken(msg.dataset.token);
        text.focus();
      }
    }
  });
  one("[data-do=leave]", form).onclick = () => { leave(); text.value = ""; text.focus(); };
  // Forms in the conversation (again, a word on a question): sent without leaving the page.
  log.addEventListener("submit", async (event) => {
    event.preventDefault();
    const asked = Object.fromEntries(new FormData(event.target, event.submitter));
    if (event.target.getAttribute("action") === "/chat/again") asked.token = bytes(12);
    const answer = await fetch(event.target.getAttribute("action"), {
      method: "POST", headers: { "Content-Type": "application/json", Accept: "application/json" }, body: JSON.stringify(asked),
    }).catch(() => null);
    if (answer?.ok) { event.target.closest(".ask")?.remove(); return; }
    const why = await answer?.json().catch(() => null);
    toast(why?.error?.message || "It was not sent: the line is away. Try again.", "bad");
  });
  log.addEventListener("toggle", async (event) => {
    const tools = event.target;
    if (!tools.open || !tools.dataset.tools) return;
    const answer = await fetch(tools.dataset.tools, { headers: { "HX-Request": "true" } }).catch(() => null);
    if (!answer?.ok) return;
    const inside = make("div", { className: "stack tight" });
    inside.innerHTML = await answer.text(); // made by our own server
    one(".head", inside)?.remove();
    delete tools.dataset.tools;
    tools.lastElementChild.replaceWith(inside);
  }, true);

  const typed = kept(draft);
  if (typed && !text.value) text.value = typed;
  if (!past) {
    log.scrollTop = log.scrollHeight;
    connect();
    if (!coarse.matches) text.focus();
  }
  flush();
})();
