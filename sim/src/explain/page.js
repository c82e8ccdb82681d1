"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const T = (place) => (place === null || place < 0 ? "" : data.texts[place]);
const kindOf = (event) => data.kinds[event[2]];
const [AT, HOST, KIND, NAME, DETAIL, JOB, CAUSE, PEER, KEY, VALUE, CONE] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10];
const ROW = 24, TOP = 12, GUTTER = 104, OVERSCAN = 12;
const seconds = (us, digits = 6) => (us / 1e6).toFixed(digits) + " s";

const state = {
  scope: "cone", job: "", folded: new Set(), off: new Set(["write"]),
  runs: [0], run: 0, event: 0,
};

const roleOf = (host) => {
  const name = data.hosts[host];
  return name.startsWith("client:") ? "client" : !name.includes("/") ? "gate" : name.includes("/m") ? "manager" : "worker";
};

/* ---- which events are shown ---- */

function shown(run, event) {
  if (state.scope === "cone" && !event[CONE]) return false;
  const job = event[JOB] === null ? "" : T(event[JOB]);
  if (state.job && job && job !== state.job) return false;
  if (state.job && !job && state.scope === "all" && kindOf(event) !== "fault" && kindOf(event) !== "process") return false;
  if (state.folded.has(event[HOST])) return false;
  return !state.off.has(kindOf(event));
}

/* ---- one timeline ---- */

class Pane {
  constructor(run, host) {
    this.run = run;
    this.data = data.runs[run];
    this.root = document.createElement("div");
    this.root.className = "pane";
    const title = document.createElement("h3");
    title.textContent = this.data.label + (this.data.violated ? "" : " · passes");
    this.lanes = Object.assign(document.createElement("div"), { className: "lanes" });
    this.scroll = Object.assign(document.createElement("div"), { className: "scroll", tabIndex: 0 });
    this.space = Object.assign(document.createElement("div"), { className: "space" });
    this.svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    this.space.append(this.svg);
    this.scroll.append(this.space);
    this.root.append(title, this.lanes, this.scroll);
    host.append(this.root);
    this.scroll.addEventListener("scroll", () => this.draw());
    this.svg.addEventListener("click", (click) => {
      const row = click.target.closest(".row");
      if (row) select(this.run, Number(row.dataset.event));
    });
  }

  /** Puts the rows together again. */
  lay() {
    this.rows = [];
    this.rowOf = new Map();
    this.data.events.forEach((event, place) => {
      if (shown(this.run, event)) {
        this.rowOf.set(place, this.rows.length);
        this.rows.push(place);
      }
    });
    this.arrows = [];
    this.rows.forEach((place, row) => {
      const event = this.data.events[place];
      const from = event[CAUSE] === null ? undefined : this.rowOf.get(event[CAUSE]);
      if (from !== undefined && this.data.events[event[CAUSE]][HOST] !== event[HOST]) this.arrows.push([from, row, event[CAUSE], place]);
    });
    this.draw();
  }

  x(host) {
    const width = this.scroll.clientWidth - GUTTER - 20;
    const open = data.hosts.map((_, host) => host).filter((host) => !state.folded.has(host));
    const place = open.indexOf(host);
    const lane = Math.max(90, width / Math.max(1, open.length));
    return GUTTER + (place + 0.5) * lane;
  }

  y(row) { return TOP + row * ROW + ROW / 2; }

  drawLanes() {
    this.lanes.textContent = "";
    let folded = 0;
    data.hosts.forEach((name, host) => {
      const button = document.createElement("button");
      button.className = roleOf(host) + (state.folded.has(host) ? " folded" : "");
      button.textContent = name;
      button.title = state.folded.has(host) ? "show this node" : "fold this node away";
      button.style.left = (state.folded.has(host) ? 24 + 60 * folded++ : this.x(host)) - this.scroll.scrollLeft + "px";
      button.onclick = () => {
        if (!state.folded.delete(host)) state.folded.add(host);
        layAll();
      };
      this.lanes.append(button);
    });
  }

  /** The first row whose event is not before an instant. */
  rowAt(us) {
    let [low, high] = [0, this.rows.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.data.events[this.rows[middle]][AT] < us) low = middle + 1; else high = middle;
    }
    return low;
  }

  draw() {
    if (!this.rows) return;
    const width = Math.max(this.scroll.clientWidth, this.x(data.hosts.length - 1) || 0);
    const last = this.rows.length + (this.data.violated ? 1.6 : 0.5);
    this.space.style.height = TOP * 2 + last * ROW + "px";
    const first = Math.max(0, Math.floor((this.scroll.scrollTop - TOP) / ROW) - OVERSCAN);
    const end = Math.min(this.rows.length, Math.ceil((this.scroll.scrollTop + this.scroll.clientHeight) / ROW) + OVERSCAN);
    const top = first * ROW, height = (end - first) * ROW + 4 * ROW + TOP;
    this.svg.setAttribute("width", width);
    this.svg.setAttribute("height", height);
    this.svg.style.top = top + "px";
    this.svg.setAttribute("viewBox", `0 ${top} ${width} ${height}`);
    const out = [];
    this.bands(out, first, end, top, top + height);
    const bottom = this.y(this.rows.length - 1) + ROW / 2;
    data.hosts.forEach((_, host) => {
      if (!state.folded.has(host)) out.push(`<line class="lane" x1="${this.x(host)}" x2="${this.x(host)}" y1="${top}" y2="${Math.min(bottom, top + height)}"/>`);
    });
    const chain = state.run === this.run ? chainOf(this.data, state.event) : new Set();
    for (const [from, to, cause, place] of this.arrows) {
      if (to < first || from > end) continue;
      const [a, b] = [this.data.events[cause], this.data.events[place]];
      const on = chain.has(place) && chain.has(cause) ? " on" : "";
      out.push(`<path class="arrow${on}" marker-end="url(#tip${on ? "on" : ""})" d="M${this.x(a[HOST])} ${this.y(from)} L${this.x(b[HOST])} ${this.y(to)}"/>`);
    }
    for (let row = first; row < end; row++) this.row(out, row, chain, width);
    this.differs(out, width);
    if (this.data.violated) this.violation(out, width);
    this.svg.innerHTML = TIPS + out.join("");
    this.drawLanes();
  }

  bands(out, first, end, top, bottom) {
    for (const [kind, host, from, to] of this.data.faults) {
      if (state.folded.has(host)) continue;
      const a = TOP + this.rowAt(from) * ROW, b = TOP + Math.max(this.rowAt(to + 1), this.rowAt(from) + 1) * ROW;
      if (b < top || a > bottom) continue;
      const half = Math.min(70, (this.x(1) - this.x(0)) / 2 - 6 || 60);
      const x = this.x(host) - half;
      out.push(`<rect class="band" x="${x}" y="${a}" width="${half * 2}" height="${Math.max(b - a, ROW)}" rx="6"><title>${kind}</title></rect>`);
      out.push(`<text class="bandname" x="${x + 6}" y="${Math.min(Math.max(a, top), b) + 12}">${kind}</text>`);
    }
  }

  row(out, row, chain, width) {
    const place = this.rows[row], event = this.data.events[place], kind = kindOf(event);
    const x = this.x(event[HOST]), y = this.y(row);
    const picked = state.run === this.run && state.event === place;
    out.push(`<g class="row" data-event="${place}">`);
    if (picked) out.push(`<rect class="picked" x="0" y="${y - ROW / 2}" width="${width}" height="${ROW}"/>`);
    out.push(`<rect class="hit" x="0" y="${y - ROW / 2}" width="${width}" height="${ROW}"/>`);
    const before = row > 0 ? this.data.events[this.rows[row - 1]][AT] : 0;
    if (event[AT] !== before || row === 0) out.push(`<text class="time" x="12" y="${y + 4}">${seconds(event[AT])}</text>`);
    if (row > 0 && event[AT] - before > 500000) {
      out.push(`<line x1="0" x2="${width}" y1="${y - ROW / 2}" y2="${y - ROW / 2}" stroke="var(--line)" stroke-dasharray="2 4"/>`);
      out.push(`<text class="gap halo" x="${width - 14}" y="${y - ROW / 2 + 3}" text-anchor="end">${seconds(event[AT] - before, 1)} later</text>`);
    }
    out.push(glyph(kind, x, y, chain.has(place)));
    const [name, detail, job] = [T(event[NAME]), T(event[DETAIL]), T(event[JOB])];
    const more = [detail, job && !detail.includes(job) ? job : ""].filter(Boolean).join(" ");
    const peer = event[PEER] === null ? "" : (kind === "send" ? " → " : kind === "receive" ? " ← " : "");
    const other = peer ? peer + data.hosts[event[PEER]] : "";
    const left = x > width * 0.62;
    const room = Math.floor((left ? x - GUTTER : width - x) / 6.6) - 3;
    const rest = Math.max(0, room - name.length - other.length - 1);
    const short = more.length > rest ? more.slice(0, Math.max(0, rest - 1)) + "…" : more;
    const dim = kind === "send" || kind === "receive" || kind === "write";
    const color = kind === "fault" ? "var(--fault)" : kind === "run" ? "var(--run)" : dim ? "var(--soft)" : "var(--ink)";
    const weight = dim ? 400 : 600;
    out.push(`<text class="halo" x="${left ? x - 11 : x + 11}" y="${y + 4}" text-anchor="${left ? "end" : "start"}"><tspan style="fill:${color};font-weight:${weight}">${text(name)}</tspan><tspan class="dim">${text(other)} ${text(short)}</tspan></text></g>`);
  }

  differs(out, width) {
    const at = this.data.differs;
    if (at === null) return;
    let row = 0;
    while (row < this.rows.length && this.rows[row] < at) row++;
    const y = TOP + row * ROW;
    out.push(`<line class="differs" x1="${GUTTER}" x2="${width}" y1="${y}" y2="${y}"/><text class="differsname halo" x="${width - 14}" y="${y - 3}" text-anchor="end">from here on another run than the one that passes</text>`);
  }

  violation(out, width) {
    const y = TOP + this.rows.length * ROW + 4;
    out.push(`<g id="violation"><rect class="violated" x="10" y="${y}" width="${width - 20}" height="${ROW + 6}" rx="6"/>`);
    const room = Math.floor((width - 60) / 7.2);
    const line = "✕ " + data.oracle + ": " + (data.message || "").split("\n")[0];
    out.push(`<text class="violation" x="24" y="${y + ROW / 2 + 7}">${text(line.length > room ? line.slice(0, room) + "…" : line)}</text></g>`);
  }

  show(place) {
    let row = this.rowOf.get(place);
    if (row === undefined) row = Math.min(this.rows.length - 1, this.rowAt(this.data.events[place] ? this.data.events[place][AT] : 0));
    this.showRow(row);
  }

  showRow(row) {
    const y = this.y(row);
    if (y < this.scroll.scrollTop + ROW * 2 || y > this.scroll.scrollTop + this.scroll.clientHeight - ROW * 3)
      this.scroll.scrollTop = y - this.scroll.clientHeight / 2;
    this.draw();
  }
}

const TIPS = `<defs><marker id="tip" viewBox="0 0 8 8" refX="11" refY="4" markerWidth="6" markerHeight="6" orient="auto"><path d="M0 0L8 4L0 8z" fill="var(--message)"/></marker><marker id="tipon" viewBox="0 0 8 8" refX="9" refY="4" markerWidth="5" markerHeight="5" orient="auto"><path d="M0 0L8 4L0 8z" fill="var(--pick)"/></marker></defs>`;

function glyph(kind, x, y, on) {
  const color = on ? "var(--pick)" : { send: "var(--message)", receive: "var(--message)", write: "var(--write)", fault: "var(--fault)", run: "var(--run)" }[kind] || "var(--ink)";
  const fill = kind === "send" || kind === "receive" || kind === "write" ? "var(--back)" : color;
  const style = `fill="${fill}" stroke="${color}" stroke-width="1.8"`;
  switch (kind) {
    case "send": case "receive": return `<circle cx="${x}" cy="${y}" r="3.2" ${style}/>`;
    case "run": return `<rect x="${x - 4.5}" y="${y - 4.5}" width="9" height="9" rx="1.5" ${style}/>`;
    case "client": return `<path d="M${x} ${y - 6}L${x + 6} ${y}L${x} ${y + 6}L${x - 6} ${y}z" ${style}/>`;
    case "fault": return `<path d="M${x} ${y - 6.5}L${x + 6.5} ${y + 5}L${x - 6.5} ${y + 5}z" ${style}/>`;
    case "process": return `<path d="M${x - 5} ${y - 5}L${x + 5} ${y + 5}M${x + 5} ${y - 5}L${x - 5} ${y + 5}" ${style}/>`;
    case "write": return `<rect x="${x - 3}" y="${y - 3}" width="6" height="6" ${style}/>`;
    default: return `<circle cx="${x}" cy="${y}" r="4.6" ${style}/>`;
  }
}

const text = (words) => words.replace(/&/g, "&amp;").replace(/</g, "&lt;");

/** What an event goes back to, one cause after the other. */
function chainOf(run, place) {
  const chain = new Set();
  while (place !== null && place !== undefined && !chain.has(place)) {
    chain.add(place);
    place = run.events[place] ? run.events[place][CAUSE] : null;
  }
  return chain;
}

/* ---- what the nodes last said ---- */

/** By host: name to [value, place of the event that says so]. */
function statesAt(run, last) {
  const states = data.hosts.map(() => new Map());
  for (let place = 0; place <= last; place++) {
    const event = run.events[place];
    if (kindOf(event) === "process") states[event[HOST]].clear();
    if (event[KEY] < 0) continue;
    const key = T(event[KEY]);
    states[event[HOST]].delete(key);
    if (event[VALUE] !== null) states[event[HOST]].set(key, [T(event[VALUE]), place]);
  }
  return states;
}

function lastBefore(run, us) {
  let last = -1;
  while (last + 1 < run.events.length && run.events[last + 1][AT] <= us) last++;
  return last;
}

function drawStates() {
  const run = data.runs[state.run], now = run.events[state.event];
  const states = statesAt(run, state.event);
  const other = data.runs.length > 1 ? statesAt(data.runs[1 - state.run], lastBefore(data.runs[1 - state.run], now[AT])) : null;
  const box = $("states");
  box.textContent = "";
  for (let host = 0; host < data.nodes; host++) {
    const faults = run.faults.filter(([, where, from, to]) => where === host && from <= now[AT] && now[AT] <= to).map(([kind]) => kind);
    const card = document.createElement("div");
    const process = states[host].get("process");
    const down = !process || process[0] === "down";
    card.className = "card" + (host === now[HOST] ? " here" : "") + (down ? " down" : "");
    const entries = [...states[host]].filter(([key]) => key !== "process" && (!state.job || !key.includes("job ") || key.includes(state.job)));
    entries.sort((a, b) => b[1][1] - a[1][1]);
    const rows = entries.slice(0, host === now[HOST] ? 14 : 5).map(([key, [value, place]]) => {
      const peer = other && other[host].get(key);
      const differs = other && (!peer || peer[0] !== value) ? `<span class="other">${data.runs[1 - state.run].violated ? "failing" : "passing"} run: ${text(peer ? peer[0] : "not said")}</span>` : "";
      return `<tr class="${place === state.event ? "new" : ""}"><td>${text(key)}</td><td>${text(value)}${differs}</td></tr>`;
    });
    const more = entries.length - rows.length;
    card.innerHTML = `<h4><span class="${roleOf(host)}">${data.hosts[host]}</span><small>${faults.join(", ")}</small><span class="more">${down ? "down" : text(process[0])}</span></h4><table>${rows.join("")}</table>${more > 0 ? `<span class="more">and ${more} older</span>` : ""}`;
    box.append(card);
  }
}

function drawEvent() {
  const run = data.runs[state.run], event = run.events[state.event], kind = kindOf(event);
  const pane = panes.find((pane) => pane.run === state.run);
  const row = pane ? pane.rowOf.get(state.event) : undefined;
  $("step").textContent = `Step ${row === undefined ? "hidden" : row + 1} of ${pane ? pane.rows.length : 0} · ${seconds(event[AT])}`;
  const box = $("event");
  const peer = event[PEER] === null ? "" : ` ${kind === "send" ? "to" : kind === "receive" ? "from" : "with"} ${data.hosts[event[PEER]]}`;
  box.innerHTML = `<p class="name">${text(T(event[NAME]))}</p><p>${kind} at <b class="${roleOf(event[HOST])}">${data.hosts[event[HOST]]}</b>${text(peer)}</p><p class="dim">${text(T(event[DETAIL]))}</p>`;
  const link = (place, words) => {
    const a = document.createElement("a");
    a.textContent = words;
    a.tabIndex = 0;
    a.onclick = () => select(state.run, place);
    box.append(a);
  };
  const name = (place) => `${T(run.events[place][NAME])} at ${data.hosts[run.events[place][HOST]]}, ${seconds(run.events[place][AT])}`;
  if (event[CAUSE] !== null) link(event[CAUSE], `${kind === "receive" ? "← sent" : "← because of"}: ${name(event[CAUSE])}`);
  let told = 0;
  for (let place = state.event + 1; place < run.events.length && told < 6; place++) {
    if (run.events[place][CAUSE] === state.event) {
      link(place, `${kind === "send" ? "→ received" : "→ led to"}: ${name(place)}`);
      told++;
    }
  }
  if (kind === "send" && told === 0) box.insertAdjacentHTML("beforeend", "<p class='dim'>it never arrived</p>");
}

/* ---- the whole page ---- */

let panes = [];

function buildPanes() {
  $("panes").textContent = "";
  panes = state.runs.map((run) => new Pane(run, $("panes")));
}

function layAll() {
  panes.forEach((pane) => pane.lay());
  const pane = panes.find((pane) => pane.run === state.run) || panes[0];
  $("slider").max = Math.max(0, pane.rows.length - 1);
  syncSlider();
  drawDensity(pane);
  drawEvent();
  drawStates();
}

function syncSlider() {
  const pane = panes.find((pane) => pane.run === state.run) || panes[0];
  const row = pane.rowOf.get(state.event);
  $("slider").value = row === undefined ? Math.min(pane.rows.length - 1, pane.rowAt(data.runs[pane.run].events[state.event][AT])) : row;
}

function select(run, place, fromSlider) {
  state.run = run;
  state.event = place;
  for (const pane of panes) {
    if (pane.run === run) pane.show(place);
    else pane.showRow(Math.min(pane.rows.length - 1, pane.rowAt(data.runs[run].events[place][AT])));
  }
  if (!fromSlider) {
    const pane = panes.find((pane) => pane.run === run);
    $("slider").max = Math.max(0, pane.rows.length - 1);
    syncSlider();
  }
  drawEvent();
  drawStates();
}

function drawDensity(pane) {
  const canvas = $("density"), scale = window.devicePixelRatio || 1;
  const width = canvas.clientWidth, height = 26;
  canvas.width = width * scale;
  canvas.height = height * scale;
  const to = canvas.getContext("2d");
  to.scale(scale, scale);
  const css = getComputedStyle(document.body);
  const n = Math.max(1, pane.rows.length - 1), inner = width - 16;
  pane.rows.forEach((place, row) => {
    const event = pane.data.events[place], kind = kindOf(event);
    const lane = 2 + (event[HOST] / Math.max(1, data.hosts.length - 1)) * (height - 8);
    to.fillStyle = kind === "fault" ? css.getPropertyValue("--fault") : css.getPropertyValue("--" + roleOf(event[HOST]));
    to.globalAlpha = kind === "send" || kind === "receive" ? 0.35 : 0.9;
    to.fillRect(8 + (row / n) * inner - 0.75, lane, kind === "fault" ? 3 : 1.5, 4);
  });
  if (pane.data.violated) {
    to.globalAlpha = 1;
    to.fillStyle = css.getPropertyValue("--bad");
    to.fillRect(8 + inner - 1, 0, 3, height);
  }
}

function buttons(box, entries, pick) {
  box.textContent = "";
  entries.forEach(([value, words, on]) => {
    const button = document.createElement("button");
    button.textContent = words;
    button.dataset.value = value;
    button.setAttribute("aria-pressed", on);
    button.onclick = () => pick(value, button);
    box.append(button);
  });
}

function drawControls() {
  buttons($("scope"), [["cone", "Causal cone", state.scope === "cone"], ["all", "Everything", state.scope === "all"]], (value) => {
    state.scope = value;
    drawControls();
    layAll();
    select(state.run, state.event);
  });
  const choices = data.runs.map((run, place) => [[place], run.label, String(state.runs) === String([place])]);
  if (data.runs.length > 1) choices.push([[0, 1], "side by side", state.runs.length === 2]);
  buttons($("runs"), choices, (value) => {
    state.runs = value;
    if (!value.includes(state.run)) {
      const at = data.runs[state.run].events[state.event][AT];
      state.run = value[0];
      state.event = Math.max(0, lastBefore(data.runs[state.run], at));
    }
    buildPanes();
    drawControls();
    layAll();
    select(state.run, state.event);
  });
  buttons($("kinds"), data.kinds.map((kind) => [kind, kind, !state.off.has(kind)]), (kind) => {
    if (!state.off.delete(kind)) state.off.add(kind);
    drawControls();
    layAll();
  });
}

function begin() {
  const run = data.runs[0];
  if (!run.violated) document.body.classList.add("passed");
  $("oracle").textContent = run.violated ? data.oracle : "passed";
  $("message").textContent = data.message || "No oracle has found anything.";
  const last = run.events.length - 1;
  const cone = run.events.filter((event) => event[CONE]).length;
  const facts = { seed: data.seed, faults: data.faults, nodes: data.nodes, events: run.all, "in the cone": cone, seconds: (run.events[last][AT] / 1e6).toFixed(2) };
  $("facts").innerHTML = Object.entries(facts).map(([name, value]) => `<div><dt>${name}</dt><dd>${value}</dd></div>`).join("");
  $("job").insertAdjacentHTML("beforeend", data.jobs.map((job) => `<option>${text(job)}</option>`).join(""));
  $("job").onchange = () => { state.job = $("job").value; layAll(); };
  $("slider").oninput = () => {
    const pane = panes.find((pane) => pane.run === state.run) || panes[0];
    select(pane.run, pane.rows[Number($("slider").value)], true);
  };
  document.addEventListener("keydown", (key) => {
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: 15, PageUp: -15 }[key.key];
    if (!step || key.target.tagName === "SELECT" || key.target.type === "range") return;
    key.preventDefault();
    const pane = panes.find((pane) => pane.run === state.run);
    const row = Math.min(pane.rows.length - 1, Math.max(0, Number($("slider").value) + step));
    select(pane.run, pane.rows[row]);
  });
  window.addEventListener("resize", layAll);
  buildPanes();
  drawControls();
  panes[0].lay();
  state.event = panes[0].rows.length ? panes[0].rows[panes[0].rows.length - 1] : last;
  layAll();
  const pane = panes[0];
  pane.scroll.scrollTop = pane.space.clientHeight;
  pane.draw();
}

begin();
