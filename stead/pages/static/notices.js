// Switches notices on and off for this browser (https://www.w3.org/TR/push-api/).
(() => {
  "use strict";
  const { one, toast } = window.stead;
  const on = one("#push-on");
  const off = one("#push-off");
  const state = one("#push-state");
  if (!on) return;
  if (!("serviceWorker" in navigator) || !("PushManager" in window) || !isSecureContext) {
    state.textContent = "This browser cannot be told here: it needs a connection by HTTPS or localhost, and on an iPhone the page on the home screen.";
    return;
  }
  const raw = (text) => Uint8Array.from(
    atob(text.replace(/-/g, "+").replace(/_/g, "/")), (sign) => sign.charCodeAt(0));
  const show = async () => {
    const worker = await navigator.serviceWorker.ready;
    const now = await worker.pushManager.getSubscription();
    on.hidden = Boolean(now);
    off.hidden = !now;
  };
  on.addEventListener("click", async () => {
    on.disabled = true;
    try {
      if (await Notification.requestPermission() !== "granted") {
        toast("The browser was told not to show notices of this page. Its settings for this site can change that.", "bad");
        return;
      }
      const worker = await navigator.serviceWorker.ready;
      const made = await worker.pushManager.subscribe({
        userVisibleOnly: true, applicationServerKey: raw(on.dataset.public),
      });
      const answer = await fetch("/notices", {
        method: "POST", body: JSON.stringify(made), headers: { "Content-Type": "application/json" },
      });
      if (!answer.ok) {
        await made.unsubscribe();
        const said = await answer.json().catch(() => ({}));
        toast(said.error?.message || `stead answered ${answer.status}.`, "bad");
        return;
      }
      location.reload();
    } catch (error) {
      toast(`The browser's push service did not take part: ${error.message}`, "bad");
    } finally {
      on.disabled = false;
    }
  });
  off.addEventListener("click", async () => {
    const worker = await navigator.serviceWorker.ready;
    const now = await worker.pushManager.getSubscription();
    if (now) await now.unsubscribe(); // its service tells the house with the next notice
    await show();
  });
  show();
})();
