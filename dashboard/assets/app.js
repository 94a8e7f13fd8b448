"use strict";
// app.js asks for data.json and shows it. Nothing that comes from a member or a key becomes markup.

function el(name, attributes, ...children) {
  const e = document.createElement(name);
  for (const [k, v] of Object.entries(attributes || {})) {
    if (k === "onclick") e.addEventListener("click", v);
    else if (k === "style") e.style.cssText = v; // an attribute would be against the page's policy
    else if (v !== false) e.setAttribute(k, v === true ? "" : v);
  }
  e.append(...children);
  return e;
}

const $ = id => document.getElementById(id);

const whole = n => Math.round(n).toLocaleString("en");
const percent = x => (100 * x).toFixed(x > 0 && x < 0.1 ? 2 : 1) + " %";
function rate(n) {
  if (n >= 1e6) return (n / 1e6).toFixed(1) + "M";
  if (n >= 1e4) return (n / 1e3).toFixed(0) + "k";
  if (n >= 1e3) return (n / 1e3).toFixed(1) + "k";
  return n >= 10 || n === 0 ? n.toFixed(0) : n.toFixed(1);
}
function bytes(n) {
  for (const unit of ["B", "KiB", "MiB", "GiB", "TiB"]) {
    if (n < 1024 || unit === "TiB") return (n < 10 && unit !== "B" ? n.toFixed(1) : Math.round(n)) + " " + unit;
    n /= 1024;
  }
}
function seconds(s) {
  if (s === 0) return "0";
  if (s < 1e-3) return (s * 1e6).toFixed(0) + " µs";
  if (s < 1) return (s * 1e3).toFixed(s < 0.01 ? 1 : 0) + " ms";
  if (s < 120) return s.toFixed(s < 10 ? 1 : 0) + " s";
  if (s < 7200) return (s / 60).toFixed(0) + " min";
  return s < 172800 ? (s / 3600).toFixed(0) + " h" : (s / 86400).toFixed(0) + " d";
}
// short is a member's name without what all of them have: a name is most often the URL.
const short = name => name.replace(/^https?:\/\//, "").replace(/\/(_covey\/)?$/, "");
const nanos = n => seconds(n / 1e9);
const clock = at => new Date(at).toLocaleTimeString([], {hour12: false});

// tiers are where answers come from: the field, what it is called, and its colour.
const tiers = [["Hits", "own", "hits"], ["L1", "copy", "l1"], ["Peers", "owner had it", "peers"], ["Replicas", "replica had it", "replicas"],
  ["Stale", "stale", "stale"], ["Negative", "known to be missing", "negative"], ["Misses", "missed", "misses"]];

let data = null;
let shown = {cache: "", allMembers: false, paused: false, kinds: new Set(), key: null};

// table fills a table with a head and rows; a row is an array of cells, or {class, cells}.
function table(id, head, rows, empty) {
  const t = $(id);
  const focused = document.activeElement && t.contains(document.activeElement) ? document.activeElement.dataset.k : null;
  const cell = (c, i) => {
    if (c instanceof Node && ["TD", "TH"].includes(c.tagName)) return c;
    return el("td", head[i] && head[i].n ? {class: "n"} : {}, c instanceof Node ? c : String(c));
  };
  t.replaceChildren(
    el("thead", {}, el("tr", {}, ...head.map(h => el("th", {scope: "col", class: h.n ? "n" : false}, h.text)))),
    el("tbody", {}, ...(rows.length ? rows.map(r => el("tr", {class: r.class || false}, ...(r.cells || r).map(cell)))
      : [el("tr", {}, el("td", {class: "empty", colspan: head.length}, empty))])));
  if (focused) for (const e of t.querySelectorAll("[data-k]")) if (e.dataset.k === focused) e.focus();
}

const text = t => ({text: t}), number = t => ({text: t, n: true});

function keyCell(cache, key) {
  if (!data.Explain.includes(cache)) return el("td", {class: "key"}, key);
  return el("td", {class: "key"}, el("button", {class: "link", type: "button", "data-k": cache + "\0" + key, "aria-label": `explain ${key}`, onclick: () => explain(cache, key)}, key));
}

// sum adds up the arrays of the chosen caches' history.
function sum(field) {
  const chosen = Object.entries(data.History.Caches).filter(([name]) => !shown.cache || name === shown.cache).map(([, s]) => s[field] || []);
  return data.History.At.map((_, i) => chosen.reduce((n, s) => n + (s[i] || 0), 0));
}

function worst(field) {
  const chosen = Object.entries(data.History.Caches).filter(([name]) => !shown.cache || name === shown.cache).map(([, s]) => s[field] || []);
  return data.History.At.map((_, i) => Math.max(0, ...chosen.map(s => s[i] || 0)));
}

const chosen = () => data.Caches.filter(c => !shown.cache || c.Name === shown.cache);

function showRequests() {
  const of = field => chosen().reduce((n, c) => n + c[field], 0);
  const now = field => sum(field).at(-1) || 0;
  const requests = tiers.reduce((n, [f]) => n + now(f), 0);
  const tile = (value, label, id) => el("li", {"data-tile": id}, el("b", {}, value), el("span", {}, label));
  const waiting = data.History.At.length ? "" : "–";
  $("tiles").replaceChildren(
    tile(waiting || rate(requests), "requests a second", "requests"),
    tile(waiting || (requests ? percent(1 - now("Misses") / requests) : "–"), "answered from memory", "hits"),
    tile(waiting || rate(now("Loads")), "loads a second", "loads"),
    tile(waiting || rate(now("LoadErrors")), "loads that fail, a second", "errors"),
    tile(whole(of("Loading")), "loads in progress", "loading"),
    tile(bytes(of("Bytes")), of("MaxBytes") ? `of ${bytes(of("MaxBytes"))}` : "stored", "bytes"),
    tile(whole(of("Entries")), "entries", "entries"));
  const at = data.History.At;
  $("charts").replaceChildren(
    chart("Requests a second, by where the answer came from", at, tiers.map(([f, name, color]) => ({name, color, values: sum(f)})), rate, true),
    chart("Loads a second", at, [{name: "loads", color: "hits", values: sum("Loads")}, {name: "failed", color: "misses", values: sum("LoadErrors")}], rate),
    chart("How long loads take, 99 %", at, [{name: "99 %", color: "peers", values: worst("P99")}], seconds));
  table("caches", [text("Cache"), number("Processes"), ...tiers.map(([, name]) => number(name)), number("Loads"), number("Failed"), number("Median"), number("99 %"),
    number("Entries"), number("Copies"), number("Replicas"), number("Bytes"), number("Evicted"), number("Writes"), number("Unconfirmed"), text("Actions")],
  data.Caches.map(c => [el("th", {scope: "row"}, c.Name), whole(c.Members), ...tiers.map(([f]) => whole(c[f])), whole(c.Loads), whole(c.LoadErrors), seconds(c.Median), seconds(c.P99),
    whole(c.Entries), whole(c.L1Entries), whole(c.ReplicaCopies), bytes(c.Bytes), whole(c.Evictions), whole(c.Writes), whole(c.Unconfirmed),
    data.Actions && data.Explain.includes(c.Name) ? el("button", {class: "danger", type: "button", "data-k": "clear " + c.Name, onclick: () => act("clear", c.Name, "")}, "Clear") : ""]),
  "There are no caches yet.");
}

const grades = {self: "good", up: "good", idle: "good", silent: "bad", down: "bad"};
const shownMembers = 25;

function showMembers() {
  if (!data.Members.length) {
    $("members").hidden = true;
    return;
  }
  const list = shown.allMembers ? data.Members : data.Members.slice(0, shownMembers);
  const rows = [];
  const zoned = data.Members.some(m => m.Zone);
  for (const m of list) {
    const isBad = grades[m.State] === "bad" || m.Troubles && m.Troubles.length;
    const name = el("th", {scope: "row", title: m.Name}, short(m.Name) + (m.Name === data.Self ? " (this one)" : ""));
    for (const t of m.Troubles || []) name.append(el("div", {class: "trouble"}, t));
    rows.push({class: isBad ? "bad" : "", cells: [name, ...(zoned ? [m.Zone] : []), el("td", {class: "state " + (grades[m.State] || "warn"), "data-state": m.Name}, m.State + (m.Since ? ` ${seconds(m.Since)}` : "")),
      percent(m.Share), m.RTT ? seconds(m.RTT) : "–", m.Uptime ? seconds(m.Uptime) : "–", whole(m.Requests), whole(m.Failures), whole(m.Answers), whole(m.Loads), whole(m.Entries), bytes(m.Bytes), m.Version || "–"]});
  }
  table("member-table", [text("Member"), ...(zoned ? [text("Zone")] : []), text("State"), number("Share"), number("Round trip"), number("Up for"), number("Asked"), number("In vain"),
    number("Requests there"), number("Loads there"), number("Entries"), number("Bytes"), text("Version")], rows, "");
  drawRing($("ring"), data.Members);
  const zones = new Map();
  for (const m of data.Members) {
    const z = zones.get(m.Zone) || {n: 0, bad: 0, share: 0};
    z.n++;
    z.bad += grades[m.State] === "bad" || m.Troubles && m.Troubles.length ? 1 : 0;
    z.share += m.Share;
    zones.set(m.Zone, z);
  }
  $("zones").replaceChildren(...(zoned ? [...zones].sort().map(([name, z]) => el("li", {}, `${name || "no zone"}: ${whole(z.n)}, ${percent(z.share)}${z.bad ? `, ${z.bad} in trouble` : ""}`)) : []));
  const more = data.Members.length - shownMembers;
  $("all-members").hidden = more <= 0;
  $("all-members").textContent = shown.allMembers ? `Show the first ${shownMembers}` : `Show ${more} more, which are well or less urgent`;
}

function showRest() {
  table("hot-table", [text("Key"), text("Cache"), number("Requests/s"), text("Copies")],
    data.Hot.filter(h => !shown.cache || h.Cache === shown.cache).map(h => [keyCell(h.Cache, h.Key), h.Cache, rate(h.Rate), h.TooLarge ? "too large" : ""]), "None is asked for often.");
  table("load-table", [text("Key"), text("Cache"), text("At"), number("Age"), number("Waiting"), text("Notes")],
    data.Flights.filter(f => !shown.cache || f.Cache === shown.cache).map(f => [keyCell(f.Cache, f.Key), f.Cache, short(f.Member) + (f.Peer ? ` with ${short(f.Peer)}` : ""), seconds(f.Age), whole(f.Waiters),
      [f.Refresh ? "refresh" : "", f.Void ? "outrun by a write" : ""].filter(Boolean).join(", ")]), "Nothing is being loaded.");
  const kinds = [...new Set(data.Events.map(e => e.Kind))].sort();
  const filter = $("event-filter");
  if (filter.dataset.kinds !== kinds.join()) {
    filter.dataset.kinds = kinds.join();
    filter.replaceChildren(...kinds.map(k => {
      const box = el("input", {type: "checkbox", checked: !shown.kinds.has(k)});
      box.addEventListener("change", () => { shown.kinds[box.checked ? "delete" : "add"](k); showRest(); });
      return el("label", {}, box, k);
    }));
  }
  table("event-table", [text("Time"), text("What"), text("Seen by"), text("About"), text("Details")],
    data.Events.filter(e => !shown.kinds.has(e.Kind) && (!shown.cache || !e.Cache || e.Cache === shown.cache)).map(e => [
      el("td", {class: "time"}, clock(e.At)), e.Kind, short(e.Member), [short(e.Peer), e.Cache, e.Key].filter(Boolean).join(" / "), [e.Text, e.Took ? `took ${seconds(e.Took)}` : ""].filter(Boolean).join(", ")]), "Nothing has happened.");
}

function options(select, names, all) {
  const want = (all ? [""] : []).concat(names);
  if ([...select.options].map(o => o.value).join("\0") === want.join("\0") && select.options.length) return;
  const before = select.value;
  select.replaceChildren(...want.map(n => el("option", {value: n}, n || "all")));
  if (want.includes(before)) select.value = before;
}

function show() {
  options($("which"), data.Caches.map(c => c.Name), true);
  options($("explain-cache"), data.Explain, false);
  $("explain").hidden = !data.Explain.length;
  showRequests();
  showMembers();
  showRest();
  const troubled = data.Members.filter(m => grades[m.State] === "bad" || m.Troubles && m.Troubles.length);
  const said = !data.Members.length ? "One process, no group" : troubled.length
    ? `${troubled.length} of ${data.Members.length} processes in trouble: ${troubled.slice(0, 3).map(m => short(m.Name)).join(", ")}${troubled.length > 3 ? " …" : ""}`
    : `${data.Members.length} ${data.Members.length === 1 ? "process" : "processes"}, all well`;
  say(said, troubled.length > 0);
}

// say changes the summary only if there is something new, since screen readers read it out.
function say(message, bad) {
  const p = $("summary");
  if (p.textContent !== message) p.textContent = message;
  p.className = bad ? "bad" : "";
}

function states(x) {
  return x.States.map((s, i) => {
    const role = s.Peer === x.Owner || !x.Owner && !i ? "owner" : (x.Custodians || []).includes(s.Peer) ? "custodian" : "";
    const what = s.Err ? el("td", {class: "trouble"}, s.Err) : {main: "its entry", l1: "a copy", replica: "a replica"}[s.Source] || s.Source || "nothing";
    const until = s.TTL === undefined ? s.Source ? "no end" : "–" : s.TTL < 0 ? `over for ${nanos(-s.TTL)}` : nanos(s.TTL);
    const notes = [s.Usable ? "" : s.Source ? "not usable now" : "", s.Stale ? "stale" : "", s.NotFound ? "stands for: not found" : "", s.Lender ? `lent by ${short(s.Lender)} for ${nanos(s.Lease || 0)}` : "",
      ...(s.Lent || []).map(l => `lent to ${short(l.Peer)} for ${nanos(l.For)}`), s.Loading ? `being loaded for ${nanos(s.Loading.Age)}, ${s.Loading.Waiters} wait` : "",
      s.Written ? `${s.Write} at ${clock(s.Written)}` : "", s.Recalled ? `recalled at ${clock(s.Recalled)}` : ""].filter(Boolean).join("; ");
    return [el("th", {scope: "row"}, (short(s.Peer || "") || "this process") + (s.Peer === data.Self ? " (this one)" : "")), role, what, s.Version || "–", s.Age ? nanos(s.Age) : "–", until, s.Bytes ? bytes(s.Bytes) : "–", notes];
  });
}

async function explain(cache, key) {
  $("explain-cache").value = cache;
  $("explain-key").value = key;
  const to = $("explained");
  try {
    const got = await fetch("explain.json?" + new URLSearchParams({cache, key}));
    if (!got.ok) throw new Error((await got.text()).trim());
    const x = await got.json();
    shown.key = {cache, key};
    const t = el("table", {id: "explained-table"});
    to.replaceChildren(
      el("p", {}, x.Owner ? "Owned by " : "In this process only.", x.Owner ? el("b", {id: "explained-owner", title: x.Owner}, short(x.Owner)) : "", x.Owner ? ` in view ${x.Epoch}. A write has to reach: ${(x.Custodians || [x.Owner]).map(short).join(", ")}.` : ""),
      el("div", {class: "scroll", tabindex: "0", role: "region", "aria-label": "What each process has of the key"}, t));
    table("explained-table", [text("Process"), text("As"), text("Has"), number("Version"), number("Age"), number("Time left"), number("Bytes"), text("More")], states(x), "");
    if (x.HasValue) to.append(el("pre", {id: "explained-value", tabindex: "0", "aria-label": "Value"}, x.ValueErr || x.Value || "There is no value."));
    if (data.Actions) {
      to.append(el("p", {}, el("button", {class: "danger", type: "button", onclick: () => act("delete", cache, key)}, "Delete"), " ",
        el("button", {class: "danger", type: "button", onclick: () => act("expire", cache, key)}, "Expire")));
    }
  } catch (e) {
    to.replaceChildren(el("p", {class: "trouble"}, e.message));
  }
  $("explain").scrollIntoView({block: "nearest"});
}

async function act(action, cache, key) {
  const what = action === "clear" ? `Clear the cache ${cache} in all processes?` : `${action === "delete" ? "Delete" : "Expire"} ${key} in ${cache}?`;
  if (!confirm(what)) return;
  const got = await fetch("do", {method: "POST", body: new URLSearchParams({action, cache, key})});
  if (!got.ok) alert(await got.text());
  if (shown.key) explain(shown.key.cache, shown.key.key);
  ask();
}

async function ask() {
  try {
    const got = await fetch("data.json");
    if (!got.ok) throw new Error((await got.text()).trim());
    data = await got.json();
    show();
  } catch (e) {
    say(`This process does not answer: ${e.message}`, true);
  }
}

async function goOn() {
  if (!document.hidden && !shown.paused) await ask();
  setTimeout(goOn, 1000 * Math.max(1, data ? data.Every / 2 : 1));
}

$("which").addEventListener("change", e => { shown.cache = e.target.value; if (data) show(); });
$("pause").addEventListener("click", e => { shown.paused = !shown.paused; e.target.setAttribute("aria-pressed", shown.paused); });
$("all-members").addEventListener("click", () => { shown.allMembers = !shown.allMembers; showMembers(); });
$("explain-form").addEventListener("submit", e => { e.preventDefault(); explain($("explain-cache").value, $("explain-key").value); });
document.addEventListener("visibilitychange", () => { if (!document.hidden && !shown.paused) ask(); });
goOn();
