// Small helps for pages that work without them: live numbers, copying, tabs of snippets, files of rows.
"use strict";
(() => {
  const all = (query, root = document) => [...root.querySelectorAll(query)];
  const make = (tag, text) => { const e = document.createElement(tag); e.textContent = text; return e; };

  // Live numbers: one stream a page, closed while nobody looks at it.
  let stream = null;
  const named = () => [...new Set(all("[data-live]").map((e) => e.dataset.live))].slice(0, 200);
  const show = (model, facts) => {
    for (const box of all("[data-live]").filter((e) => e.dataset.live === model)) {
      const text = facts[box.dataset.fact];
      if (text === undefined) continue;
      if (box.dataset.fact !== "line") { box.textContent = text; continue; }
      const line = box.querySelector(".spark-line"), area = box.querySelector(".spark-area");
      if (!line) continue;
      line.setAttribute("points", text);
      area.setAttribute("points", `0,28 ${text} 120,28`);
    }
  };
  const listen = () => {
    const models = named();
    if (stream || !models.length || document.hidden) return;
    stream = new EventSource(`/live?of=${encodeURIComponent(models.join(","))}`);
    stream.onmessage = (event) => {
      const news = JSON.parse(event.data);
      for (const [model, facts] of Object.entries(news.models)) show(model, facts);
      if (news.changed) document.body.dispatchEvent(new Event("yard:changed"));
    };
    stream.addEventListener("gone", () => stop());
  };
  const stop = () => { if (stream) stream.close(); stream = null; };
  document.addEventListener("visibilitychange", () => (document.hidden ? stop() : listen()));
  addEventListener("pagehide", stop);

  // Copy buttons, and one tab a language; without this file all of them stand below each other.
  const dress = (root) => {
    for (const box of all(".code:not([data-dressed])", root)) {
      box.dataset.dressed = "";
      if (!navigator.clipboard) continue;
      const button = make("button", "Copy");
      button.type = "button";
      button.addEventListener("click", async () => {
        await navigator.clipboard.writeText(box.querySelector("pre").textContent);
        button.textContent = "Copied";
        setTimeout(() => { button.textContent = "Copy"; }, 1500);
      });
      box.append(button);
    }
    for (const group of all(".choices:not([data-dressed])", root)) tabs(group);
    for (const form of all("form[data-file]:not([data-dressed])", root)) rows(form);
  };
  const tabs = (group) => {
    group.dataset.dressed = "";
    const panels = all(":scope > .choice", group), list = make("div", "");
    list.setAttribute("role", "tablist");
    list.setAttribute("aria-label", group.dataset.label);
    let kept = null;
    try { kept = localStorage.getItem("language"); } catch { /* no storage */ }
    const choose = (index, focus) => panels.forEach((panel, i) => {
      const tab = list.children[i];
      panel.hidden = i !== index;
      tab.setAttribute("aria-selected", String(i === index));
      tab.tabIndex = i === index ? 0 : -1;
      if (i === index && focus) tab.focus();
      if (i === index && focus) try { localStorage.setItem("language", tab.textContent); } catch { /* no storage */ }
    });
    panels.forEach((panel, i) => {
      const heading = panel.querySelector(":scope > h3"), tab = make("button", heading.textContent);
      heading.hidden = true;
      panel.id = panel.id || `choice-${Math.random().toString(36).slice(2)}`;
      panel.setAttribute("role", "tabpanel");
      panel.setAttribute("aria-label", tab.textContent);
      tab.type = "button";
      tab.setAttribute("role", "tab");
      tab.setAttribute("aria-controls", panel.id);
      tab.addEventListener("click", () => choose(i, true));
      tab.addEventListener("keydown", (event) => {
        const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
        if (step) choose((i + step + panels.length) % panels.length, true);
      });
      list.append(tab);
    });
    group.prepend(list);
    choose(Math.max(0, panels.findIndex((p) => p.querySelector("h3").textContent === kept)), false);
  };

  // A file of rows: a CSV goes in parts that end with a whole row, so its size does not matter.
  const PART = 4 * 1024 * 1024, ROWS = 50000;
  const NEWLINE = 10, QUOTE = 34;
  const lastRow = (bytes, whole) => {
    let quoted = false, end = -1, rows = 0;
    for (let i = 0; i < bytes.length; i++) {
      if (bytes[i] === QUOTE) quoted = !quoted;
      else if (bytes[i] === NEWLINE && !quoted) { end = i + 1; if (++rows === ROWS) return end; }
    }
    return whole ? bytes.length : end;
  };
  const firstRow = (bytes) => {
    let quoted = false;
    for (let i = 0; i < bytes.length; i++) {
      if (bytes[i] === QUOTE) quoted = !quoted;
      else if (bytes[i] === NEWLINE && !quoted) return i + 1;
    }
    return bytes.length;
  };
  async function* parts(file) {
    let at = 0, header = null;
    while (at < file.size) {
      let size = PART, bytes, end;
      do {
        bytes = new Uint8Array(await file.slice(at, at + size).arrayBuffer());
        end = lastRow(bytes, at + size >= file.size);
        size *= 2;
      } while (end < 0 && size <= 64 * PART);
      if (end < 0) throw new Error("A row is longer than 128 MB. Is this a CSV file?");
      let rows = bytes.subarray(0, end);
      if (header === null) {
        const cut = firstRow(rows);
        header = rows.slice(0, cut);
        rows = rows.subarray(cut);
      }
      at += end;
      if (rows.length || at >= file.size) yield { body: new Blob([header, rows]), done: at };
    }
  }
  const post = async (form, body, kind, signal) => {
    const answer = await fetch(form.dataset.file, { method: "POST", body, signal, headers: { "Content-Type": kind, Accept: "text/csv", "HX-Request": "true" } });
    if (answer.ok) return answer.blob();
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    throw new Error(page.body.textContent.trim().replace(/\s+/g, " ") || `The yard answered ${answer.status}.`);
  };
  const rows = (form) => {
    form.dataset.dressed = "";
    form.hidden = false;
    const input = form.querySelector("input[type=file]"), out = form.querySelector("output"), drop = form.querySelector(".drop");
    let running = null;
    const send = async (file) => {
      if (!file) return;
      if (running) running.abort();
      const mine = running = new AbortController(), bar = make("progress", ""), words = make("p", `${file.name}: sending`), halt = make("button", "Stop");
      bar.max = 1; bar.value = 0;
      bar.setAttribute("aria-label", "Progress");
      halt.type = "button";
      halt.addEventListener("click", () => mine.abort());
      out.replaceChildren(words, bar, halt);
      const answers = [];
      try {
        if (/\.parquet$/i.test(file.name)) answers.push(await post(form, file, "application/vnd.apache.parquet", mine.signal));
        else for await (const part of parts(file)) {
          const blob = await post(form, part.body, "text/csv", mine.signal);
          answers.push(answers.length ? blob.slice(firstRow(new Uint8Array(await blob.slice(0, PART).arrayBuffer()))) : blob);
          bar.value = part.done / file.size;
          words.textContent = `${file.name}: ${Math.floor(100 * part.done / file.size)} %`;
        }
        await result(out, file, new Blob(answers, { type: "text/csv" }));
      } catch (error) {
        if (running !== mine) return;
        const stopped = error.name === "AbortError";
        const note = make("div", ""), text = stopped ? "Stopped." : error.message;
        note.className = "note bad";
        note.append(make("p", text));
        if (answers.length) note.append(make("p", `${answers.length} parts were answered before that.`));
        out.replaceChildren(note);
      }
    };
    input.addEventListener("change", () => send(input.files[0]));
    for (const name of ["dragenter", "dragover"]) drop.addEventListener(name, (event) => { event.preventDefault(); drop.classList.add("over"); });
    for (const name of ["dragleave", "drop"]) drop.addEventListener(name, (event) => { event.preventDefault(); drop.classList.remove("over"); });
    drop.addEventListener("drop", (event) => send(event.dataTransfer.files[0]));
    form.addEventListener("submit", (event) => event.preventDefault());
  };
  const result = async (out, file, blob) => {
    const link = make("a", "Download the answers");
    link.href = URL.createObjectURL(blob);
    link.download = file.name.replace(/\.[^.]*$/, "") + "-predictions.csv";
    link.className = "button main";
    const table = make("table", "");
    for (const [i, cells] of records(await blob.slice(0, 20000).text(), 9).entries()) {
      const row = make("tr", "");
      for (const cell of cells.slice(0, 12)) row.append(make(i ? "td" : "th", cell.slice(0, 80)));
      table.append(row);
    }
    const box = make("div", "");
    box.className = "scroll";
    box.tabIndex = 0;
    box.setAttribute("role", "region");
    box.setAttribute("aria-label", "First rows");
    box.append(table);
    out.replaceChildren(make("p", "Done. The first rows:"), box, link);
  };
  // The first whole rows of a CSV: in quotes, commas and line ends are text, and a doubled quote is one.
  const records = (text, most) => {
    const found = [];
    let row = [], cell = "", quoted = false, before = "";
    for (const c of text) {
      if (c === '"') {
        if (!quoted && before === '"') cell += c;
        quoted = !quoted;
      } else if (quoted || !",\r\n".includes(c)) cell += c;
      else if (c !== "\r") {
        row.push(cell);
        cell = "";
        if (c === "\n") { found.push(row); row = []; }
        if (found.length === most) break;
      }
      before = c;
    }
    return found;
  };

  // On a narrow screen the tab of this page may be out of sight.
  const showTab = () => { for (const tab of all(".tabs [aria-current]")) tab.parentElement.scrollLeft = tab.offsetLeft - tab.parentElement.offsetLeft - 16; };
  document.addEventListener("DOMContentLoaded", () => { dress(document); listen(); showTab(); });
  document.addEventListener("htmx:afterSwap", () => { dress(document); stop(); listen(); });
})();
