// The shifter's page: shows what the service says, live, and says so when it does not.

import { Charts, clock, element, hertz, reading } from "/charts.js";

const LOST_AFTER_MS = 7000;
const LOG_ROWS = 150;
const find = (selector) => document.querySelector(selector);

let status = null;      // the service's, as it last said
let seed = null;        // name of the seed that charts and commands are about
let rows = [];          // of its charts
let log = [];           // oldest first
let last = 0;           // number of the last journal entry seen
let heardAt = 0;        // when the service was last heard (this clock, ms)
let clockSkew = 0;      // the service's clock less this one's (s)
let stream = null;
let sections = 0;       // how many to chart; 0: all
let pending = null;     // the command in the dialog

const charts = new Charts(find("#charts"), (row) => { find("#reading").textContent = row ? reading(row) : ""; });

function listen() {
  stream?.close();
  stream = new EventSource(`/events?seed=${encodeURIComponent(seed ?? "")}&after=${last}`);
  stream.addEventListener("beat", (event) => heard(JSON.parse(event.data)));
  stream.addEventListener("update", (event) => update(JSON.parse(event.data)));
  stream.addEventListener("error", () => { if (stream.readyState === EventSource.CLOSED) setTimeout(listen, 2000); });
}

function heard(data) {
  heardAt = Date.now();
  clockSkew = data.now_s - heardAt / 1000;
}

function update(data) {
  heard(data);
  status = data.status;
  if (!status.seeds) return;
  if (!status.seeds.some((one) => one.name === seed)) { choose(status.seeds[0].name); return; }
  rows = rows.concat(data.history).slice(-4000);
  log = log.concat(data.log).slice(-500);
  if (data.log.length) last = data.log.at(-1).number;
  showStatus();
  showSeeds();
  showCharts();
  showLog();
}

function choose(name) {
  seed = name;
  rows = [];
  log = [];
  last = 0;
  listen();
}

const chosen = () => status.seeds.find((one) => one.name === seed);

// Header, alarms, proposal: twice a second too, since age grows by itself.

function freshness() {
  if (!heardAt) return "waiting";
  if (Date.now() - heardAt > LOST_AFTER_MS) return "lost";
  if (!status?.last_good) return "waiting";
  return age() > status.stale_after_s || status.alarms.some((alarm) => alarm.code === "stale") ? "stale" : "live";
}

const age = () => Math.max(0, Date.now() / 1000 + clockSkew - status.last_good.time_s);

function spoken(seconds) {
  if (seconds < 120) return `${Math.floor(seconds)} s ago`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min ago`;
  return `${Math.floor(seconds / 3600)} h ago`;
}

function state(fresh) {
  if (fresh === "lost") return ["bad", "No connection"];
  if (!status) return ["waiting", "Connecting"];
  if (fresh === "stale") return ["bad", "Records stopped"];
  if (fresh === "waiting") return ["waiting", "Waiting for records"];
  if (status.alarms.some((alarm) => alarm.code === "publication")) return ["bad", "Not published"];
  if (status.mode === "dry-run") return ["warn", "Dry run"];
  if (status.mode === "confirm") return ["warn", "Confirming"];
  const modes = Object.values(status.seed_modes), manual = modes.filter((mode) => mode !== "auto").length;
  if (manual === modes.length) return ["warn", "Held by hand"];
  if (manual) return ["warn", `Steering ${modes.length - manual} of ${modes.length}`];
  return ["good", "Steering"];
}

function showStatus() {
  const fresh = freshness(), [level, text] = state(fresh);
  document.body.dataset.fresh = fresh;
  setText("#state", text);
  find("#state").dataset.level = level;
  const good = status?.last_good;
  setText("#run", good?.run ?? "–");
  setText("#lumi-section", good?.lumi_section ?? "–");
  setText("#pileup", good ? good.pileup.toFixed(1) : "–");
  setText("#age", good ? spoken(age()) : "none yet");
  showAlarms(fresh);
  if (!status?.seeds) return;
  const network = status.network ? ` · network ${status.network.slice(0, 8)}` : "";
  setText("#about", `${status.controller} ${status.versions[1]} · axo ${status.versions[0]}${network}`);
  showProposal();
  setText("#mode", MODES[status.seed_modes[seed]] ?? "–");
  const one = chosen();
  if (one) setText("#fill-title", `${one.name} · target ${hertz(one.target_hz)}${one.pure ? " pure" : ""} ± ${Math.round(100 * one.band)} %`);
  document.title = `${level === "bad" ? "▲ " : ""}${text} · axo control`;
}

const MODES = { auto: "Auto", hold: "On hold", manual: "Set by hand" };

function showAlarms(fresh) {
  const lines = together(status?.alarms ?? []);
  if (fresh === "lost") {
    lines.unshift(["This page has lost the service: everything below is old", `since ${clock(heardAt / 1000)} UTC`]);
  }
  const list = lines.map(([text, since]) => {
    const item = make("li", text);
    item.append(" ", make("small", since));
    return item;
  });
  replaceWhenNew(find("#alarms ul"), list);
  find("#alarms").hidden = !list.length;
}

// One line for all the seeds that have the same alarm.
function together(alarms) {
  const groups = new Map();
  for (const alarm of alarms) {
    const key = `${alarm.code} ${alarm.text}`;
    groups.set(key, [...(groups.get(key) ?? []), alarm]);
  }
  return [...groups.values()].map((group) => {
    const names = group.map((alarm) => alarm.seed).filter((name) => name !== null);
    const shown = names.length > 4 ? `${names.slice(0, 3).join(", ")} and ${names.length - 3} more` : names.join(", ");
    return [`${shown ? `${shown}: ` : ""}${group[0].text}`, `since ${clock(group[0].since_s)} UTC`];
  });
}

function showProposal() {
  const proposal = status.proposal;
  find("#proposal").hidden = !proposal;
  if (!proposal) return;
  const changes = Object.entries(proposal.threshold_words)
    .filter(([name, word]) => word !== status.words[name])
    .map(([name, word]) => `${name} ${status.words[name]} → ${word}`);
  setText("#proposal p", `Proposed after lumi section ${proposal.id.split(":")[1]}: ${changes.join(", ") || "thresholds as they are"}`);
}

// Seeds

function showSeeds() {
  const holder = find("#seeds");
  holder.classList.toggle("many", status.seeds.length > 6);
  status.seeds.forEach((one, index) => {
    let tile = holder.children[index];
    if (tile?.dataset.seed !== one.name) {
      tile = newTile(one.name);
      holder.children[index] ? holder.children[index].replaceWith(tile) : holder.append(tile);
    }
    fillTile(tile, one);
  });
  while (holder.children.length > status.seeds.length) holder.lastChild.remove();
}

function newTile(name) {
  const tile = make("button", "");
  tile.type = "button";
  tile.className = "seed";
  tile.dataset.seed = name;
  tile.title = name;
  for (const part of ["name", "mode", "rate", "off"]) tile.append(make("span", "", part));
  tile.append(gauge(), make("span", "", "line"));
  tile.addEventListener("click", () => choose(name));
  return tile;
}

function fillTile(tile, one) {
  const point = status.points?.[one.name] ?? {}, mode = status.seed_modes[one.name];
  const rate = (one.pure ? point.pure_rate_hz : point.rate_hz) ?? null, ratio = rate === null ? null : rate / one.target_hz;
  const parts = (name) => tile.querySelector(`.${name}`);
  tile.setAttribute("aria-pressed", String(one.name === seed));
  const level = point.in_band === true ? "good" : point.in_band === false ? "bad" : "waiting";
  tile.dataset.level = mode === "auto" ? level : level === "bad" ? "bad" : "warn";
  parts("name").textContent = one.name;
  parts("mode").textContent = { auto: "AUTO", hold: "HOLD", manual: "MANUAL" }[mode];
  parts("mode").dataset.level = mode === "auto" ? "good" : "warn";
  const [number, unit] = (rate === null ? "– Hz" : hertz(rate)).split(" ");
  parts("rate").replaceChildren(number, make("small", ` ${unit}${one.pure ? " pure" : ""}`));
  parts("off").className = `off ${level}`;
  parts("off").replaceChildren(ratio === null ? "–" : percent(ratio - 1),
    make("small", { good: "in band", bad: "out of band", waiting: "not known" }[level]));
  const fraction = point.pure_fraction ?? null;
  const facts = [["target", hertz(one.target_hz)], ["threshold", String(status.words[one.name])],
    ["pure", fraction === null ? "–" : `${(100 * fraction).toFixed(0)} %`]];
  parts("line").replaceChildren(...facts.map(([label, value]) => {
    const fact = make("span", `${label} `);
    fact.append(make("b", value));
    return fact;
  }));
  setGauge(tile.querySelector("svg"), one, ratio);
}

function percent(value) {
  const whole = Math.round(100 * value);
  return `${whole < 0 ? "−" : whole > 0 ? "+" : "±"}${Math.abs(whole)} %`;
}

// 0 to twice the target; the band in the middle.
function gauge() {
  const svg = element("svg", { viewBox: "0 0 200 10", preserveAspectRatio: "none", "aria-hidden": "true" });
  svg.append(element("rect", { class: "gauge-track", x: 0, y: 3, width: 200, height: 4 }));
  svg.append(element("rect", { class: "gauge-band", y: 1, height: 8 }));
  svg.append(element("rect", { class: "gauge-mark", y: 0, width: 2.4, height: 10 }));
  return svg;
}

function setGauge(svg, one, ratio) {
  const [, band, mark] = svg.children;
  band.setAttribute("x", 100 * (1 - one.band));
  band.setAttribute("width", 200 * one.band);
  mark.setAttribute("x", 100 * Math.min(2, ratio ?? 0) - 1.2);
  mark.setAttribute("visibility", ratio === null ? "hidden" : "visible");
}

function showCharts() {
  charts.show(sections ? rows.slice(-sections) : rows, chosen());
}

// Log

function showLog() {
  const only = find("#changes-only").checked;
  const list = [];
  for (let index = log.length - 1; index >= 0 && list.length < LOG_ROWS; index -= 1) {
    const row = logRow(log[index], only);
    if (row) list.push(row);
  }
  find("#log tbody").replaceChildren(...list);
}

function logRow(entry, only) {
  const own = entry.seeds[seed], changed = own && own[0] !== own[1];
  const alarms = entry.alarms.filter(([, name]) => name === null || name === seed).map(([, , text]) => text);
  const person = entry.kind === "override" || entry.kind === "confirmation";
  if (entry.kind === "start" && !alarms.length) return only ? null : line("start", "", "the service started", clock(entry.time_s));
  if (only && !changed && !person) return null;
  const where = entry.lumi_section ? String(entry.lumi_section) : clock(entry.time_s);
  const acts = changed && entry.effective ? `acts from ${entry.effective}` : "";
  const word = !own ? "" : changed ? `${own[0]} → ${own[1]}` : String(own[1]);
  const reason = person ? entry.note : own?.[3] ?? "";
  const more = alarms.filter((text) => text !== reason).join("; ");
  const row = line(where, word, reason || more, acts, reason ? more : "");
  if (person) row.className = "person";
  if (entry.kind === "fault" || entry.accepted === false) row.className = "refused";
  return row;
}

function line(where, word, reason, under = "", more = "") {
  const row = make("tr", "");
  const cells = [where, word, reason].map((text) => make("td", text));
  if (under) cells[where === "start" ? 0 : 1].append(make("small", under));
  if (more) cells[2].append(make("small", more));
  row.append(...cells);
  return row;
}

// Commands

const COMMANDS = {
  hold: { title: () => `Hold ${seed}`, text: () => `Its threshold stays at ${status.words[seed]} until it is returned to auto.`, body: () => ({ mode: "hold", seed }) },
  manual: { title: () => `Set the threshold of ${seed}`, text: () => `It is ${status.words[seed]} now. The controller leaves it where you set it until it is returned to auto.`, body: () => ({ mode: "manual", seed, threshold_word: Number(find("#word").value) }) },
  auto: { title: () => `Return ${seed} to auto`, text: () => `The controller goes on from ${status.words[seed]}.`, body: () => ({ mode: "auto", seed }) },
  "hold-all": { title: () => "Hold all seeds", text: () => "Every threshold stays where it is until it is returned to auto.", body: () => ({ mode: "hold", seed: null }) },
  accept: { title: () => "Confirm the proposal", text: () => find("#proposal p").textContent, body: (name) => ({ proposal: name, accept: true }) },
  reject: { title: () => "Reject the proposal", text: () => find("#proposal p").textContent, body: (name) => ({ proposal: name, accept: false }) },
};

function ask(name) {
  if (!status?.seeds) return;
  const command = COMMANDS[name], one = chosen();
  pending = { command, path: name === "accept" || name === "reject" ? "confirmation" : "override", proposal: status.proposal?.id };
  setText("#command-title", command.title());
  setText("#command-text", command.text());
  setText("#refusal", "");
  find("#word-field").hidden = name !== "manual";
  const word = find("#word");
  word.disabled = name !== "manual";
  word.required = name === "manual";
  [word.min, word.max, word.value] = [one.min_word, one.max_word, status.words[seed]];
  setText("#word-limits", `from ${one.min_word} to ${one.max_word}`);
  find("#comment").value = "";
  find("#by").value ||= sessionStorage.getItem("by") ?? "";
  find("#token").value = sessionStorage.getItem("token") ?? "";
  find("#command").showModal();
}

async function send(event) {
  event.preventDefault();
  const { command, path, proposal } = pending, token = find("#token").value.trim(), by = find("#by").value.trim();
  find("#send").disabled = true;
  try {
    const answer = await fetch(`/api/${path}`, {
      method: "POST",
      headers: { "Content-Type": "application/json", Authorization: `Bearer ${token}` },
      body: JSON.stringify({ ...command.body(proposal), by, comment: find("#comment").value.trim() }),
    });
    const said = await answer.json();
    if (!answer.ok) throw new Error(said.error);
    sessionStorage.setItem("token", token);
    sessionStorage.setItem("by", by);
    find("#command").close();
  } catch (error) {
    if (String(error.message).includes("token")) sessionStorage.removeItem("token");
    setText("#refusal", error instanceof TypeError ? "The service did not answer; nothing is known to have changed." : error.message);
  } finally {
    find("#send").disabled = false;
  }
}

// Small things

function make(name, text, className = "") {
  const made = document.createElement(name);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}

function setText(selector, text) {
  const found = find(selector);
  if (found.textContent !== String(text)) found.textContent = text;
}

// Screen readers speak what is replaced: leave alone what says the same.
function replaceWhenNew(holder, children) {
  if (holder.textContent !== children.map((child) => child.textContent).join("")) holder.replaceChildren(...children);
}

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  localStorage.setItem("theme", theme);
  find("#theme").textContent = theme === "dark" ? "Light" : "Dark";
  charts.draw();
}

for (const button of document.querySelectorAll("[data-command]")) {
  button.addEventListener("click", () => ask(button.dataset.command));
}
find("#command form").addEventListener("submit", send);
find("#cancel").addEventListener("click", () => find("#command").close());
find("#changes-only").addEventListener("change", showLog);
find("#window").addEventListener("click", (event) => {
  if (event.target.dataset.sections === undefined) return;
  sections = Number(event.target.dataset.sections);
  for (const button of find("#window").children) button.setAttribute("aria-pressed", String(button === event.target));
  if (status?.seeds) showCharts();
});
const asked = new URLSearchParams(location.search).get("theme");
setTheme(["light", "dark"].includes(asked) ? asked
  : localStorage.getItem("theme") ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light"));
find("#theme").addEventListener("click", () => setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark"));
setInterval(showStatus, 500);
listen();
