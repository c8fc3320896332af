// Files that go with a message: chosen, pasted or dropped. Each is handed in at once, and named when the message is sent.
(() => {
  "use strict";
  const { say, toast, one, make } = window.stead;
  const form = one("#compose"), list = one("#handed"), text = one("#text");
  if (!form || !list) return;
  const MOST = 20;
  const items = [];
  let wanted = false; // to be sent as soon as all is there

  const line = one(".row.line", form);
  line.prepend(one("#attach"));
  one("#attach").hidden = false;

  const size = (many) => many < 1e6 ? `${Math.max(1, Math.round(many / 1e3))} KB` : `${(many / 1e6).toFixed(1)} MB`;
  const show = () => {
    list.hidden = !items.length;
    text.required = !items.length;
  };
  const drop = (item) => {
    items.splice(items.indexOf(item), 1);
    item.request?.abort();
    if (item.preview) URL.revokeObjectURL(item.preview);
    item.row.remove();
    show();
  };
  const settle = () => {
    if (wanted && items.every((item) => item.id)) { wanted = false; form.requestSubmit(one("#send")); }
  };

  const upload = (item) => {
    const request = item.request = new XMLHttpRequest();
    item.wrong = "";
    item.row.classList.remove("bad");
    item.bar.hidden = false;
    item.how.textContent = size(item.file.size);
    request.open("POST", `/files?name=${encodeURIComponent(item.file.name || "pasted")}`);
    request.responseType = "json";
    request.upload.onprogress = (event) => { if (event.lengthComputable) item.bar.value = event.loaded / event.total; };
    request.onload = () => {
      if (request.status === 201 && request.response) {
        item.id = request.response.id;
        item.bar.hidden = true;
        say(`${item.file.name || "The file"} is attached.`);
        settle();
      } else fail(item, request.response?.error?.message || `It was not taken (${request.status}).`, request.status >= 500 && request.status !== 507);
    };
    request.onerror = request.ontimeout = () => fail(item, "The line is away.", true);
    request.send(item.file);
  };
  const fail = (item, words, again) => {
    if (!items.includes(item)) return;
    item.tries += 1;
    if (again && item.tries < 6) {
      item.how.textContent = "waits for the line";
      setTimeout(() => items.includes(item) && upload(item), Math.min(1000 * 2 ** item.tries, 15000));
      return;
    }
    wanted = false;
    item.wrong = words;
    item.bar.hidden = true;
    item.row.classList.add("bad");
    item.how.textContent = words;
    toast(words, "bad");
  };
  const add = (files) => {
    for (const file of files) {
      if (items.length >= MOST) { toast(`A message may have at most ${MOST} files.`, "bad"); break; }
      const item = { file, id: "", wrong: "", tries: 0, preview: "" };
      item.bar = make("progress", { max: 1, value: 0 });
      item.bar.setAttribute("aria-label", "Handed in so far");
      item.how = make("span", { className: "small quiet", textContent: "" });
      const name = make("bdi", { className: "name", textContent: file.name || "pasted" });
      const away = make("button", { type: "button", className: "icon plain", textContent: "\u00d7", title: "Take it off" });
      away.setAttribute("aria-label", `Take off ${file.name || "the file"}`);
      away.onclick = () => {
        drop(item);
        if (item.id) fetch(`/files/${item.id}`, { method: "DELETE" }).catch(() => null);
        text.focus();
      };
      item.row = make("li", {});
      if (/^image\/(png|jpeg|gif|webp)$/.test(file.type)) {
        item.preview = URL.createObjectURL(file);
        item.row.append(make("img", { src: item.preview, alt: "" }));
      }
      item.row.append(name, item.how, item.bar, away);
      list.append(item.row);
      items.push(item);
      upload(item);
    }
    show();
  };

  one("#attach").onclick = () => one("#picked").click();
  one("#picked").onchange = (event) => { add([...event.target.files]); event.target.value = ""; text.focus(); };
  text.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files || [])];
    if (files.length) { event.preventDefault(); add(files); }
  });
  const area = one("#talk");
  const carries = (event) => event.dataTransfer && [...event.dataTransfer.types].includes("Files");
  area.addEventListener("dragover", (event) => {
    if (carries(event)) { event.preventDefault(); form.classList.add("over"); }
  });
  area.addEventListener("dragleave", () => form.classList.remove("over"));
  area.addEventListener("drop", (event) => {
    if (!carries(event)) return;
    event.preventDefault();
    form.classList.remove("over");
    add([...event.dataTransfer.files]);
  });
  addEventListener("online", () => items.filter((item) => item.wrong).forEach((item) => { item.tries = 0; upload(item); }));

  form.addEventListener("chat:sending", (event) => {
    if (items.some((item) => item.wrong)) {
      event.preventDefault();
      toast("A file was not taken: take it off, or attach it anew.", "bad");
    } else if (items.some((item) => !item.id)) {
      event.preventDefault();
      wanted = true;
      toast("It is sent as soon as the files are there.");
    } else event.detail.files.push(...items.map((item) => item.id));
  });
  form.addEventListener("chat:taken", () => { [...items].forEach(drop); });
  show();
})();
