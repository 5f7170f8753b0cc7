"""Style and script of the list of utterances on a page of scores (`s4speech.metrics.html`).

The page holds the alignments as JSON and shows fifty at a time, so that thousands stay quick. Texts come to
the page through textContent only.
"""

STYLE = """
svg.dots { max-width: 900px; width: 100%; display: block; fill: currentColor;
  font: 12px system-ui, sans-serif }
svg.dots .grid { stroke: #8884 }
.legend span { margin-right: 1.2rem; white-space: nowrap }
.legend svg { vertical-align: -2px }
.beside { display: flex; flex-wrap: wrap; gap: 2.5rem }
details { margin: .6rem 0 }
summary { cursor: pointer; font-weight: 600 }
#controls { position: sticky; top: 0; background: Canvas; padding: .6rem 0; border-bottom: 1px solid #8886;
  display: flex; flex-wrap: wrap; gap: .5rem 1rem; align-items: center; z-index: 1 }
#controls input[type=search] { min-width: 14rem }
.utterance { border-bottom: 1px solid #8884; padding: .7rem 0 }
.utterance h3 { font-size: 1rem; margin: 0 0 .3rem }
.system { display: flex; gap: .8rem; margin: .2rem 0 }
.rows { font: 12px/1.35 ui-monospace, monospace; opacity: .7; white-space: pre; flex: none }
.pairs { display: flex; flex-wrap: wrap; gap: .25rem .45rem; font: 14px/1.35 ui-monospace, monospace }
.char .pairs { gap: .25rem .1rem }
.pair { display: inline-flex; flex-direction: column; min-width: .6em; border-radius: 3px; padding: 0 2px }
.pair span { min-height: 1.35em; white-space: pre }
.pair .mark { font-size: 11px; font-weight: 700; min-height: 1.1em; line-height: 1.1 }
.C { opacity: .72 }
.S { background: #e0a10040 } .S .hyp { font-weight: 700 }
.D { background: #3b7dd838 } .D .ref { text-decoration: line-through }
.I { background: #d04a4a38 } .I .hyp { text-decoration: underline; font-weight: 700 }
"""

SCRIPT = r"""
"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const PAGE = 50, byId = id => document.getElementById(id);
const node = (tag, name, text) => {
  const made = document.createElement(tag);
  if (name) made.className = name;
  if (text !== undefined) made.textContent = text;
  return made;
};
const option = (select, value, text) => {
  const made = node("option", "", text);
  made.value = value;
  select.append(made);
};
data.systems.forEach((name, i) => { option(byId("system"), i, name); option(byId("other"), i, name); });
[...new Set(data.utterances.map(u => u.speaker).filter(s => s !== null))].sort()
  .forEach(s => option(byId("speaker"), s, s));
byId("speaker").hidden = byId("speaker").options.length < 3;
byId("others").hidden = data.systems.length < 2;
const errors = pairs => pairs.reduce((n, p) => n + (Array.isArray(p) && p.length === 2), 0);
for (const u of data.utterances) {
  u.errors = u.pairs.map(errors);
  const said = u.pairs.map(pairs => pairs.map(p => Array.isArray(p) ? p.filter(w => w).join(" ") : p)
    .join(data.unit === "word" ? " " : ""));
  u.text = [u.id, ...said].join("\n").toLowerCase();
}
let page = 0, found = [];
const choice = () => ({ system: +byId("system").value, other: +byId("other").value });
function order(kind) {
  const { system, other } = choice();
  const gain = u => u.errors[system] - (other >= 0 ? u.errors[other] : 0);
  const rate = u => u.length ? u.errors[system] / u.length : u.errors[system] ? Infinity : 0;
  return {
    errors: (a, b) => b.errors[system] - a.errors[system],
    rate: (a, b) => (rate(b) > rate(a)) - (rate(b) < rate(a)),
    lost: (a, b) => gain(b) - gain(a),
    won: (a, b) => gain(a) - gain(b),
    file: () => 0,
  }[kind];
}
function search() {
  const { system, other } = choice();
  const words = byId("search").value.toLowerCase(), speaker = byId("speaker").value;
  found = data.utterances.filter(u => u.text.includes(words) && (!speaker || u.speaker === speaker)
    && (!byId("wrong").checked || u.errors[system] || (other >= 0 && u.errors[other])));
  found.sort(order(byId("order").value));
  page = 0;
  show();
}
function aligned(pairs, name) {
  const block = node("div", "system"), row = node("div", "pairs");
  block.append(node("div", "rows", "REF\nHYP"), row);
  if (name !== null) block.title = name;
  for (const p of pairs) {
    const [ref, hyp, mark] = !Array.isArray(p) ? [p, p, "C"] : p.length === 1 ? [p[0], "", "C"]
      : p[0] === null ? ["", p[1], "I"] : p[1] === null ? [p[0], "", "D"] : [p[0], p[1], "S"];
    const cell = node("span", "pair " + mark), seen = text => text === " " ? "\u2423" : text;
    cell.append(node("span", "ref", seen(ref)), node("span", "hyp", seen(hyp)),
      node("span", "mark", mark === "C" ? "" : mark));
    row.append(cell);
  }
  return block;
}
function show() {
  const list = byId("list"), { system, other } = choice();
  const shown = other >= 0 && other !== system ? [system, other] : [system];
  list.replaceChildren();
  list.className = data.unit;
  for (const u of found.slice(page * PAGE, (page + 1) * PAGE)) {
    const block = node("div", "utterance"), title = node("h3", "", u.id);
    if (u.speaker !== null) title.append(node("span", "", " \u00b7 speaker " + u.speaker));
    block.append(title);
    for (const i of shown) {
      const part = u.length ? (100 * u.errors[i] / u.length).toFixed(0) + " %" : "empty reference";
      block.append(node("small", "", `${data.systems[i]}: ${u.errors[i]} errors of ${u.length} (${part})`),
        aligned(u.pairs[i], data.systems[i]));
    }
    list.append(block);
  }
  const last = Math.max(0, Math.ceil(found.length / PAGE) - 1);
  byId("place").textContent = found.length
    ? `${page * PAGE + 1}-${Math.min(found.length, (page + 1) * PAGE)} of ${found.length}` : "none found";
  byId("before").disabled = page === 0;
  byId("after").disabled = page >= last;
}
for (const id of ["system", "other", "speaker", "order", "wrong"])
  byId(id).addEventListener("change", search);
let timer;
byId("search").addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(search, 150); });
byId("before").addEventListener("click", () => { page--; show(); byId("utterances").scrollIntoView(); });
byId("after").addEventListener("click", () => { page++; show(); byId("utterances").scrollIntoView(); });
search();
"""
