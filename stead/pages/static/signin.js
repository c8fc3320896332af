// Passkeys (https://www.w3.org/TR/webauthn-3/), and the code of a link, which stands behind its #:
// no server, no proxy and no Referer sees it there.
(() => {
  "use strict";

  const bytes = (text) =>
    Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
  const text = (buffer) =>
    btoa(String.fromCharCode(...new Uint8Array(buffer)))
      .replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");

  async function ask(path, body) {
    const answer = await fetch(path, {
      method: "POST",
      headers: { "Content-Type": "application/json", Accept: "application/json" },
      body: JSON.stringify(body || {}),
    });
    const told = await answer.json().catch(() => null);
    if (!answer.ok) throw new Error(told?.error?.message || `stead answered ${answer.status}.`);
    return told;
  }

  const shape = (credential, response) => ({
    id: credential.id,
    rawId: text(credential.rawId),
    type: credential.type,
    clientExtensionResults: {},
    response: { clientDataJSON: text(credential.response.clientDataJSON), ...response },
  });

  async function make() {
    const options = await ask("/sign-in/new/options");
    options.challenge = bytes(options.challenge);
    options.user.id = bytes(options.user.id);
    for (const known of options.excludeCredentials) known.id = bytes(known.id);
    const made = await navigator.credentials.create({ publicKey: options });
    const told = shape(made, { attestationObject: text(made.response.attestationObject) });
    return ask("/sign-in/new", told);
  }

  async function use(next) {
    const options = await ask("/sign-in/options");
    options.challenge = bytes(options.challenge);
    const used = await navigator.credentials.get({ publicKey: options });
    const told = shape(used, {
      authenticatorData: text(used.response.authenticatorData),
      signature: text(used.response.signature),
      userHandle: used.response.userHandle ? text(used.response.userHandle) : null,
    });
    return ask(`/sign-in/passkey?next=${encodeURIComponent(next)}`, told);
  }

  const words = {
    NotAllowedError: "No passkey was shown in time, or it was not allowed. Try again, or use a code.",
    InvalidStateError: "This device has a passkey for stead already.",
    SecurityError: "The browser has no passkeys for this address.",
  };

  function wire(place) {
    const button = place.querySelector("button");
    place.hidden = false;
    button.addEventListener("click", async () => {
      const said = document.querySelector("[data-said]");
      said.hidden = true;
      button.disabled = true;
      try {
        const kind = place.dataset.passkey;
        const told = await (kind === "make" ? make() : use(place.dataset.next));
        location.assign(told.next);
      } catch (error) {
        said.textContent = words[error.name] || error.message;
        said.hidden = false;
        button.disabled = false;
        button.focus();
      }
    });
  }

  function start() {
    const able = window.isSecureContext && window.PublicKeyCredential;
    for (const place of document.querySelectorAll("[data-passkey][hidden]")) if (able) wire(place);
    const print = document.querySelector("[data-print][hidden]");
    if (print) {
      print.hidden = false;
      print.querySelector("button").addEventListener("click", () => window.print());
    }
    const field = document.getElementById("code");
    const found = /^#code=([A-Za-z0-9_-]{10,64})$/.exec(location.hash);
    if (field && found) {
      history.replaceState(null, "", location.pathname + location.search);
      field.value = found[1];
      field.form.querySelector("button").focus();
    }
  }

  start();
  window.addEventListener("hashchange", start);
  document.addEventListener("htmx:after:swap", start); // the room comes in without a new page
})();
