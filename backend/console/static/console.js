// Polling that knows when to stop, keys, copying, and the playground. Text of others only ever becomes text.
"use strict";
const IDLE = 30 * 60 * 1000;
let seen = Date.now();
for (const kind of ["pointerdown", "keydown", "focus"]) addEventListener(kind, () => { seen = Date.now(); }, true);

document.addEventListener("htmx:before:request", (event) => {
  if (document.hidden || Date.now() - seen > IDLE) event.preventDefault();
});
document.addEventListener("htmx:after:request", (event) => {
  const status = event.detail?.ctx?.response?.status;
  if (status === 401) location.reload();
  for (const pulse of document.querySelectorAll("[data-pulse]")) pulse.classList.toggle("lost", status >= 500);
});
document.addEventListener("htmx:error", () => {
  for (const pulse of document.querySelectorAll("[data-pulse]")) pulse.classList.add("lost");
});

document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName)) return;
  const field = document.querySelector("[data-key='/']");
  if (field) { event.preventDefault(); field.focus(); }
});

document.querySelector("nav [aria-current='page']")?.scrollIntoView({ block: "nearest", inline: "center" });

for (const block of document.querySelectorAll("[data-copy]")) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "copy";
  button.textContent = "Copy";
  button.addEventListener("click", async () => {
    const code = block.querySelector("code");
    if (navigator.clipboard) await navigator.clipboard.writeText(code.textContent); // there is none without TLS
    else getSelection().selectAllChildren(code);
    button.textContent = navigator.clipboard ? "Copied" : "Selected";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  });
  const frame = document.createElement("div");
  frame.className = "copyable";
  block.replaceWith(frame);
  frame.append(block, button);
}

const form = document.getElementById("playground");
if (form) {
  const section = document.getElementById("answer");
  const answer = section.querySelector("[role=log]");
  const receipt = section.querySelector("[data-receipt]");
  const stop = form.querySelector("[data-stop]");
  let under = null;

  stop.addEventListener("click", () => under?.abort());
  form.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    under?.abort();
    ask(new FormData(form));
  });

  async function ask(given) {
    const mine = under = new AbortController();
    const began = performance.now();
    section.hidden = stop.hidden = false;
    answer.textContent = receipt.textContent = "";
    answer.classList.remove("error");
    answer.setAttribute("aria-busy", "true");
    try {
      const response = await fetch(form.dataset.address, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ model: given.get("feature"), stream: true, messages: [{ role: "user", content: given.get("text") }] }),
        signal: mine.signal,
      });
      if (!response.ok) throw new Error(await reason(response));
      let first = null;
      for await (const text of deltas(response.body)) {
        first ??= performance.now();
        answer.append(text);
      }
      tell(response, began, first);
    } catch (error) {
      if (mine !== under) return;
      answer.classList.toggle("error", error.name !== "AbortError");
      if (error.name === "AbortError") receipt.textContent = "Stopped.";
      else answer.append(`${answer.textContent ? "\n" : ""}${error.message}`);
    } finally {
      if (mine === under) { answer.setAttribute("aria-busy", "false"); stop.hidden = true; }
    }
  }

  async function reason(response) {
    try { return (await response.json()).error.message; } catch { return `The service answered ${response.status}.`; }
  }

  function tell(response, began, first) {
    const call = response.headers.get("x-patchbay-receipt-id");
    const seconds = (since) => `${((since - began) / 1000).toFixed(2)} s`;
    receipt.textContent = `First text after ${first ? seconds(first) : "–"}, all after ${seconds(performance.now())}. `;
    if (!call) return;
    const link = document.createElement("a");
    link.href = `/requests/${encodeURIComponent(call)}`;
    link.textContent = "What happened inside";
    receipt.append(link);
  }

  async function* deltas(body) {
    let rest = "";
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
      const events = (rest + piece.value).split("\n\n");
      rest = events.pop();
      for (const event of events) {
        const data = event.split("\n").filter((line) => line.startsWith("data: ")).map((line) => line.slice(6)).join("\n");
        if (!data || data === "[DONE]") continue;
        const told = JSON.parse(data);
        if (told.error) throw new Error(told.error.message);
        const text = told.choices?.[0]?.delta?.content;
        if (text) yield text;
      }
    }
  }
}
