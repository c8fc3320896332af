// The worker in the background: a page in words when the house cannot be reached, and notices.
// It keeps no page of the house: what is yours stays in the house. (MARK and KEPT stand before.)
"use strict";
const SHELF = `stead-${MARK}`;

self.addEventListener("install", (event) => {
  event.waitUntil((async () => {
    const shelf = await caches.open(SHELF);
    await shelf.addAll(KEPT.map((url) => new Request(url, { cache: "reload" })));
    await self.skipWaiting();
  })());
});

self.addEventListener("activate", (event) => {
  event.waitUntil((async () => {
    const old = (await caches.keys()).filter((name) => name.startsWith("stead-") && name !== SHELF);
    await Promise.all(old.map((name) => caches.delete(name)));
    await self.clients.claim();
  })());
});

self.addEventListener("fetch", (event) => {
  const { request } = event;
  if (request.method !== "GET") return;
  const { pathname, origin } = new URL(request.url);
  if (origin !== location.origin) return;
  if (request.mode === "navigate") {
    event.respondWith(fetch(request).catch(async () => (await caches.match("/offline")) || Response.error()));
  } else if (KEPT.includes(pathname)) { // their names change with what is in them
    event.respondWith((async () => (await caches.match(pathname)) || fetch(request))());
  }
});

self.addEventListener("push", (event) => {
  let told = {};
  try { told = event.data.json(); } catch { told = {}; }
  const path = /^\/(?![/\\])/.test(told.path) ? told.path : "/";
  event.waitUntil((async () => {
    // Whoever has that very page before their eyes is told nothing that stands there.
    const open = await self.clients.matchAll({ type: "window" });
    if (open.some((one) => one.focused && path !== "/" && new URL(one.url).pathname === path)) return;
    await self.registration.showNotification(told.title || "stead", {
      body: told.body || "There is something new.",
      tag: told.tag || undefined,
      icon: KEPT.find((url) => url.endsWith(".png")),
      data: { path },
    });
  })());
});

self.addEventListener("notificationclick", (event) => {
  event.notification.close();
  event.waitUntil((async () => {
    const url = new URL(event.notification.data?.path || "/", location.origin);
    if (url.origin !== location.origin) return;
    for (const client of await self.clients.matchAll({ type: "window", includeUncontrolled: true })) {
      if (new URL(client.url).pathname === url.pathname) return client.focus();
    }
    return self.clients.openWindow(url.href);
  })());
});
