// Voice in and out, where the house has the services for it: what is said is typed, what is answered is read aloud.
(() => {
  "use strict";
  const { say, toast, one, all, make } = window.stead;
  const form = one("#compose"), mic = one("#mic"), text = one("#text"), log = one("#log");
  if (!form || !mic) return;
  const RATE = 16000, LONGEST = 300000; // samples a second; milliseconds of one recording

  // --- in ------------------------------------------------------------------------------------
  let recorder = null, timer = 0;
  const wav = (samples) => {
    const data = new DataView(new ArrayBuffer(44 + samples.length * 2));
    const word = (at, letters) => [...letters].forEach((letter, n) => data.setUint8(at + n, letter.charCodeAt(0)));
    word(0, "RIFF"); data.setUint32(4, 36 + samples.length * 2, true); word(8, "WAVEfmt ");
    data.setUint32(16, 16, true); data.setUint16(20, 1, true); data.setUint16(22, 1, true);
    data.setUint32(24, RATE, true); data.setUint32(28, RATE * 2, true); data.setUint16(32, 2, true); data.setUint16(34, 16, true);
    word(36, "data"); data.setUint32(40, samples.length * 2, true);
    samples.forEach((sample, n) => data.setInt16(44 + n * 2, Math.max(-1, Math.min(1, sample)) * 32767, true));
    return new Blob([data], { type: "audio/wav" });
  };
  // Browsers record in forms of their own; every recogniser reads WAV.
  const plain = async (recording) => {
    const context = new AudioContext();
    const heard = await context.decodeAudioData(await recording.arrayBuffer()).finally(() => context.close());
    const made = new OfflineAudioContext(1, Math.max(1, Math.ceil(heard.duration * RATE)), RATE);
    const source = made.createBufferSource();
    source.buffer = heard;
    source.connect(made.destination);
    source.start();
    return wav((await made.startRendering()).getChannelData(0));
  };
  const heard = async (pieces, type) => {
    mic.disabled = true;
    try {
      const answer = await fetch("/files/voice/words", { method: "POST", body: await plain(new Blob(pieces, { type })) });
      const told = await answer.json().catch(() => null);
      if (!answer.ok) throw new Error(told?.error?.message || `It could not be understood (${answer.status}).`);
      if (!told.text) { toast("Nothing was understood."); return; }
      text.value = text.value.trim() ? `${text.value.trimEnd()} ${told.text}` : told.text;
      text.dispatchEvent(new Event("input", { bubbles: true }));
      say(`Understood: ${told.text}`);
      text.focus();
    } catch (error) { toast(error.message, "bad"); } finally { mic.disabled = false; }
  };
  const show = (on) => {
    mic.setAttribute("aria-pressed", String(on));
    mic.classList.toggle("danger", on);
    mic.title = on ? "Stop and type it" : "Speak instead of typing";
  };
  mic.onclick = async () => {
    if (recorder) { recorder.stop(); return; }
    try {
      const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
      const pieces = [], mine = recorder = new MediaRecorder(stream);
      mine.ondataavailable = (event) => pieces.push(event.data);
      mine.onstop = () => {
        clearTimeout(timer);
        recorder = null;
        stream.getTracks().forEach((track) => track.stop());
        show(false);
        heard(pieces, mine.mimeType);
      };
      mine.start();
      timer = setTimeout(() => mine.state === "recording" && mine.stop(), LONGEST);
      show(true);
      say("Listening.");
    } catch { toast("The browser gives no microphone here.", "bad"); }
  };

  // --- out -----------------------------------------------------------------------------------
  let playing = null;
  const quiet = () => {
    if (!playing) return;
    playing.sound.pause();
    URL.revokeObjectURL(playing.sound.src);
    playing.button.classList.remove("danger");
    playing = null;
  };
  const aloud = async (button) => {
    if (playing?.button === button) { quiet(); return; }
    quiet();
    button.disabled = true;
    try {
      const words = one(".body", button.closest(".msg")).innerText;
      const answer = await fetch("/files/voice/sound", {
        method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ text: words }),
      });
      if (!answer.ok) throw new Error((await answer.json().catch(() => null))?.error?.message || `It could not be read aloud (${answer.status}).`);
      const sound = make("audio", { src: URL.createObjectURL(await answer.blob()) });
      playing = { button, sound };
      button.classList.add("danger");
      sound.onended = quiet;
      await sound.play();
    } catch (error) { quiet(); toast(error.message, "bad"); } finally { button.disabled = false; }
  };
  const dress = (msg) => {
    const acts = one(".acts", msg);
    if (acts && !one("[data-do=aloud]", acts)) acts.append(one("#aloud").content.cloneNode(true));
  };
  log.addEventListener("click", (event) => {
    const button = event.target instanceof Element && event.target.closest("[data-do=aloud]");
    if (button) aloud(button);
  });

  const begin = async () => {
    const answer = await fetch("/files/voice").catch(() => null);
    const told = answer?.ok ? await answer.json().catch(() => null) : null;
    if (told?.listens && navigator.mediaDevices && window.MediaRecorder) {
      one(".row.line", form).prepend(mic);
      mic.hidden = false;
    }
    if (told?.speaks) {
      all(".msg.assistant:not(.live)", log).forEach(dress);
      new MutationObserver((changes) => changes.forEach((change) => change.addedNodes.forEach((node) => {
        if (node instanceof Element && node.matches(".msg.assistant:not(.live)")) dress(node);
      }))).observe(log, { childList: true });
    }
  };
  (window.requestIdleCallback || setTimeout)(begin);
})();
