// The page shown offline: it looks whether the house is there again, ever more seldom.
(() => {
  "use strict";
  if (location.pathname === "/offline") return; // looked at for itself: nothing was asked for
  let wait = 1000;
  let timer;
  const look = async () => {
    clearTimeout(timer);
    try {
      const answer = await fetch("/healthz", { cache: "no-store" });
      if (answer.ok) {
        location.reload();
        return;
      }
    } catch { /* not yet */ }
    wait = Math.min(wait * 1.5, 30000);
    timer = setTimeout(look, wait);
  };
  addEventListener("online", look);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) look(); });
  timer = setTimeout(look, wait);
})();
