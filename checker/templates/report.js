"use strict";
(() => {
  const root = document.documentElement;
  root.classList.add("scripted");
  const $ = (id) => document.getElementById(id);
  const data = JSON.parse($("data").textContent);
  const NS = "http://www.w3.org/2000/svg";
  const figures = [...document.querySelectorAll("figure[data-chart]")];
  const drawings = figures.map((figure) => figure.querySelector("svg"));
  const say = (text) => { $("live").textContent = text; };

  // Theme: as the system, dark, light.
  const themes = ["auto", "dark", "light"];
  const store = { get() { try { return localStorage.getItem("theme"); } catch { return null; } },
    set(value) { try { localStorage.setItem("theme", value); } catch { /* a page from disk may be refused */ } } };
  const setTheme = (theme) => {
    if (theme === "auto") root.removeAttribute("data-theme"); else root.dataset.theme = theme;
    $("theme-word").textContent = theme;
    $("theme").setAttribute("aria-label", "Theme: " + (theme === "auto" ? "as the system" : theme));
    store.set(theme);
  };
  setTheme(themes.includes(store.get()) ? store.get() : "auto");
  $("theme").onclick = () => setTheme(themes[(themes.indexOf($("theme-word").textContent) + 1) % 3]);

  // Copy buttons.
  for (const button of document.querySelectorAll("button.copy")) {
    button.onclick = async () => {
      const source = $(button.dataset.copy);
      try { await navigator.clipboard.writeText(source.textContent); } catch {
        const range = document.createRange();
        range.selectNodeContents(source);
        getSelection().removeAllRanges();
        getSelection().addRange(range);
        document.execCommand("copy");
      }
      button.textContent = "Copied";
      say("Copied");
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    };
  }

  // Zoom: every absolute x coordinate of a timed group is moved; shapes of marks are relative.
  const full = [0, data.end];
  let view = full.slice();
  const saved = new Map();
  const place = (x) => {
    const time = (x - data.left) / data.width * data.end;
    return data.left + (time - view[0]) / (view[1] - view[0]) * data.width;
  };
  const timeAt = (x) => view[0] + (x - data.left) / data.width * (view[1] - view[0]);
  const seconds = (ns) => (ns / 1e9).toFixed(view[1] - view[0] < 5e9 ? 3 : 2) + " s";
  const keep = (element, name) => {
    let known = saved.get(element);
    if (known === undefined) { known = element.getAttribute(name); saved.set(element, known); }
    return known;
  };
  const ticks = () => {
    const span = view[1] - view[0];
    let step = 10 ** Math.floor(Math.log10(span / 10));
    for (const factor of [1, 2, 5, 10]) if (span / (step * factor) <= 12) { step *= factor; break; }
    const all = [];
    for (let at = Math.ceil(view[0] / step) * step; at <= view[1]; at += step) all.push(at);
    return [all, Math.max(0, -Math.floor(Math.log10(step / 1e9) + 1e-9))];
  };
  const label = (ns, digits) => (ns / 1e9).toFixed(digits) + " s";
  const redraw = () => {
    const whole = view[0] === full[0] && view[1] === full[1];
    for (const svg of drawings) {
      for (const group of svg.querySelectorAll("g.t")) {
        for (const path of group.querySelectorAll("path")) {
          const d = keep(path, "d");
          path.setAttribute("d", whole ? d : d.replace(/([ML])(-?[\d.]+)/g, (_, c, x) => c + place(+x).toFixed(1)));
        }
        for (const text of group.querySelectorAll("text")) {
          const x = keep(text, "x");
          text.setAttribute("x", whole ? x : place(+x).toFixed(1));
        }
      }
      const axes = [...svg.querySelectorAll("g.x")];
      const first = axes[0];
      if (!first) continue;
      if (!saved.has(first)) saved.set(first, axes.map((group) => [...group.childNodes]));
      const [top] = first.querySelector("path") ? [first.querySelector("path").getAttribute("d").match(/ ([\d.]+)/)[1]] : [0];
      axes.forEach((group, at) => group.replaceChildren(...(whole ? saved.get(first)[at] : [])));
      if (whole) continue;
      const [all, digits] = ticks();
      for (const at of all) {
        const x = data.left + (at - view[0]) / (view[1] - view[0]) * data.width;
        const line = document.createElementNS(NS, "path");
        line.setAttribute("d", `M${x.toFixed(1)} ${top}v4`);
        line.setAttribute("class", "l-axis");
        const text = document.createElementNS(NS, "text");
        text.setAttribute("x", x.toFixed(1));
        text.setAttribute("y", +top + 15);
        text.setAttribute("font-size", "10.5");
        text.setAttribute("text-anchor", x > data.left + data.width - 14 ? "end" : "middle");
        text.setAttribute("class", "f-muted");
        text.textContent = label(at, digits);
        first.append(line, text);
      }
    }
    $("zoom").hidden = whole;
    $("zoom-text").textContent = whole ? "" : `${seconds(view[0])} to ${seconds(view[1])}`;
  };
  const show = (from, until, remember = true) => {
    const least = data.end / 2000;
    if (until - from < least) until = from + least;
    const span = Math.min(until - from, data.end);
    from = Math.min(Math.max(0, from), data.end - span);
    view = [from, from + span];
    redraw();
    if (!remember) return;
    const whole = span >= data.end;
    const fragment = whole ? "#timeline" : `#t=${(view[0] / 1e9).toFixed(3)}-${(view[1] / 1e9).toFixed(3)}`;
    try { history.replaceState(null, "", fragment); } catch { /* a page from disk may be refused */ }
    say(whole ? "The whole run" : `${seconds(view[0])} to ${seconds(view[1])}`);
  };
  $("zoom-reset").onclick = () => show(...full);

  // Cursor, values at the cursor, and highlighted faults.
  const readout = $("readout");
  const overlays = drawings.map((svg) => {
    const line = document.createElementNS(NS, "line");
    const brush = document.createElementNS(NS, "rect");
    const box = svg.viewBox.baseVal;
    line.setAttribute("class", "cursor");
    brush.setAttribute("class", "brush");
    for (const element of [line, brush]) { element.setAttribute("visibility", "hidden"); svg.append(element); }
    line.setAttribute("y1", 22);
    line.setAttribute("y2", box.height - 18);
    brush.setAttribute("y", 22);
    brush.setAttribute("height", Math.max(0, box.height - 40));
    return { line, brush };
  });
  const toX = (svg, event) => {
    const box = svg.getBoundingClientRect();
    return (event.clientX - box.left) / box.width * svg.viewBox.baseVal.width;
  };
  const inPlot = (x) => x >= data.left && x <= data.left + data.width;
  const light = (numbers) => {
    root.classList.toggle("lit", numbers.length > 0);
    for (const element of document.querySelectorAll("[data-fault]")) {
      element.classList.toggle("on", numbers.includes(+element.dataset.fault));
    }
  };
  const number = (value) => value === null || value === undefined ? "—" : value.toLocaleString("en", { maximumFractionDigits: 2 });
  const rowsAt = (id, time) => {
    const chart = data.charts[id];
    if (!chart) return [];
    const bin = Math.floor(time / chart.bin);
    return chart.series.map(([name, values]) => [name, number(values[bin]), chart.unit]);
  };
  const fill = (id, time) => {
    const active = data.faults.filter((f) => f.from !== null && f.from <= time && time <= f.until);
    const head = document.createElement("b");
    head.textContent = seconds(time);
    const table = document.createElement("table");
    for (const [name, value, unit] of rowsAt(id, time)) {
      const row = table.insertRow();
      row.insertCell().textContent = name;
      row.insertCell().textContent = `${value} ${unit}`;
    }
    const faults = document.createElement("div");
    faults.textContent = active.map((f) => f.label).join(", ");
    readout.replaceChildren(head, table, faults);
    return active.map((f) => f.n);
  };
  const hide = () => {
    readout.hidden = true;
    for (const { line } of overlays) line.setAttribute("visibility", "hidden");
  };
  let drag = null;
  drawings.forEach((svg, at) => {
    const id = figures[at].dataset.chart;
    svg.addEventListener("pointermove", (event) => {
      const x = toX(svg, event);
      if (!inPlot(x)) { hide(); return; }
      for (const { line } of overlays) {
        line.setAttribute("x1", x);
        line.setAttribute("x2", x);
        line.setAttribute("visibility", "visible");
      }
      fill(id, timeAt(x));
      readout.hidden = false;
      const left = event.clientX + 16 + readout.offsetWidth > innerWidth ? event.clientX - 16 - readout.offsetWidth : event.clientX + 16;
      readout.style.left = `${Math.max(4, left)}px`;
      readout.style.top = `${Math.min(event.clientY + 14, innerHeight - readout.offsetHeight - 6)}px`;
      if (drag) for (const { brush } of overlays) {
        brush.setAttribute("x", Math.min(drag.x, x));
        brush.setAttribute("width", Math.abs(drag.x - x));
        brush.setAttribute("visibility", "visible");
      }
    });
    svg.addEventListener("pointerleave", hide);
    svg.addEventListener("pointerdown", (event) => {
      const x = toX(svg, event);
      if (event.button !== 0 || event.pointerType === "touch" || !inPlot(x)) return;
      drag = { x };
      svg.setPointerCapture(event.pointerId);
      event.preventDefault();
    });
    svg.addEventListener("pointerup", (event) => {
      if (!drag) return;
      const x = Math.min(Math.max(toX(svg, event), data.left), data.left + data.width);
      const [from, until] = [Math.min(drag.x, x), Math.max(drag.x, x)].map(timeAt);
      const far = Math.abs(x - drag.x) > 6;
      drag = null;
      for (const { brush } of overlays) brush.setAttribute("visibility", "hidden");
      if (far) show(from, until);
    });
    svg.addEventListener("dblclick", () => show(...full));
  });
  document.addEventListener("pointerover", (event) => {
    const owner = event.target.closest?.("[data-fault]");
    light(owner ? [+owner.dataset.fault] : []);
  });

  // Keys: zoom, pan, the next and the previous finding.
  const findings = [...document.querySelectorAll(".card, .story")];
  let current = -1;
  const jump = (step) => {
    if (!findings.length) return;
    current = (current + step + findings.length) % findings.length;
    const target = findings[current];
    if (target.tagName === "DETAILS") target.open = true;
    target.scrollIntoView({ block: "start" });
    (target.querySelector("summary") ?? target).focus({ preventScroll: true });
    say(`${current + 1} of ${findings.length}`);
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName)) return;
    const span = view[1] - view[0];
    const middle = (view[0] + view[1]) / 2;
    const actions = {
      "0": () => show(...full),
      Escape: () => { show(...full); hide(); },
      "+": () => show(middle - span / 4, middle + span / 4),
      "-": () => show(middle - span, middle + span),
      ArrowLeft: () => show(view[0] - span / 5, view[1] - span / 5),
      ArrowRight: () => show(view[0] + span / 5, view[1] + span / 5),
      j: () => jump(1),
      k: () => jump(-1),
    };
    const zoomed = span < data.end;
    if (!(event.key in actions) || (event.key.startsWith("Arrow") && !zoomed)) return;
    actions[event.key]();
    if (event.key !== "Escape") event.preventDefault();
  });

  // Where the address points: a part of the time, or something folded away.
  const follow = () => {
    const fragment = decodeURIComponent(location.hash.slice(1));
    const part = fragment.match(/^t=([\d.]+)-([\d.]+)$/);
    if (part) {
      show(part[1] * 1e9, part[2] * 1e9, false);
      $("timeline").scrollIntoView();
      return;
    }
    const target = fragment && $(fragment);
    for (let up = target; up; up = up.parentElement) if (up.tagName === "DETAILS") up.open = true;
    if (target) target.scrollIntoView();
  };
  addEventListener("hashchange", follow);
  follow();

  // Numbers of a picture as a file.
  for (const figure of figures) {
    const chart = data.charts[figure.dataset.chart];
    const details = figure.querySelector("details.data");
    if (!chart || !details) continue;
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Save as CSV";
    button.onclick = () => {
      const quote = (text) => /^[=+@-]|[",\n]/.test(text) ? `"'${text.replaceAll('"', '""')}"` : text;
      const rows = [["seconds", ...chart.series.map(([name]) => quote(name))]];
      const bins = Math.max(0, ...chart.series.map(([, values]) => values.length));
      for (let bin = 0; bin < bins; bin += 1) {
        rows.push([bin * chart.bin / 1e9, ...chart.series.map(([, values]) => values[bin] ?? "")]);
      }
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob([rows.map((row) => row.join(",")).join("\n") + "\n"], { type: "text/csv" }));
      link.download = `${figure.dataset.chart}.csv`;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 1000);
    };
    details.append(button);
  }
})();
