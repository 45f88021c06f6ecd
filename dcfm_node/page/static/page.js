// The page of a node: shows the documents of /events. It only reads, and it makes no markup from text.

import { colour, lines, mark, s, timeline } from "./charts.js";
import { ancestry, causes } from "./derived.js";

const UNITS = ["B", "kB", "MB", "GB", "TB"];
const SEVERITIES = ["critical", "error", "warning"];
const STAGES = {
  prepare: "the silos agree on what to build on",
  local: "each silo trains its first expert on its own data",
  refine: "each silo refines its expert from the last student",
  distil: "an elected silo distils all experts into one student",
  release: "the silos judge the final student before it is released",
  done: "the run is over",
};
const KINDS = { join: 0, expert: 1, student: 3, checkpoint: 6, endorse: 2, refuse: 5, withdraw: 7, verdict: 7 };
const KIND_WORDS = {
  join: "joined the run", expert: "published its expert", student: "published the student",
  checkpoint: "published a checkpoint", endorse: "endorsed the student", refuse: "refused the student",
  withdraw: "left the run", verdict: "accused a silo", lease: "was elected", propose: "proposed the preparation",
};
const MORE = 40;
let now = null, past = null, most = MORE;
const shown = new Map();

// Small helpers

/** An HTML element: attributes, then children. Text children stay text. */
function h(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== null && value !== false) made.setAttribute(key, value === true ? "" : String(value));
  }
  made.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return made;
}

const byId = (id) => document.getElementById(id);
const bytes = (count) => {
  let unit = 0;
  while (count >= 1000 && unit < UNITS.length - 1) { count /= 1000; unit += 1; }
  return unit ? `${count.toFixed(1)} ${UNITS[unit]}` : `${Math.round(count)} B`;
};
const ago = (seconds) => {
  if (seconds === null || seconds === undefined) return "never";
  for (const [limit, divisor, unit] of [[90, 1, "s"], [5400, 60, "min"], [172800, 3600, "h"]]) {
    if (seconds < limit) return `${Math.round(seconds / divisor)} ${unit}`;
  }
  return `${Math.round(seconds / 86400)} days`;
};
const utc = (ms) => {
  const time = new Date(Math.min(Math.max(ms, 0), 253402300799000));
  return time.toISOString().slice(0, 19).replace("T", " ");
};
const percent = (share) => `${Math.round(100 * share)} %`;
const figure = (value) => (value === null ? "-" : String(Number(value.toPrecision(3))));
const stageWords = (stage) => STAGES[stage] ?? stage;

/** Puts new content into a part of the page, if it differs from what is there. */
function put(name, key, make) {
  const text = JSON.stringify(key);
  if (shown.get(name) === text) return;
  shown.set(name, text);
  const part = document.querySelector(`[data-part="${name}"]`);
  const inside = part.contains(document.activeElement);
  const at = inside ? [...part.querySelectorAll("summary, [tabindex]")].indexOf(document.activeElement) : -1;
  const open = [...part.querySelectorAll("details")].map((d) => d.open);
  const moved = part.querySelector(".wide")?.scrollLeft ?? 0;
  part.replaceChildren(...[make()].flat().filter(Boolean));
  part.querySelectorAll("details").forEach((d, k) => { if (open[k]) d.open = true; });
  if (moved && part.querySelector(".wide")) part.querySelector(".wide").scrollLeft = moved;
  if (at >= 0) part.querySelectorAll("summary, [tabindex]")[at]?.focus();
}

/** A table. columns: [name, class]; rows: arrays of cells; the first cell heads its row. */
function table(label, columns, rows, kind = "") {
  const head = h("thead", {}, h("tr", {}, columns.map(([name]) => h("th", { scope: "col" }, name))));
  const body = h("tbody", {}, rows.map((row) => h("tr", {}, row.map((cell, at) =>
    at === 0 ? h("th", { scope: "row" }, cell) : h("td", { class: columns[at][1] ?? null }, cell ?? "-")))));
  return h("div", { class: "wide", tabindex: 0, role: "region", "aria-label": label },
    h("table", { class: kind || null }, head, body));
}

const legend = (names, at = (k) => k) => h("ul", { class: "key" }, names.map((name, k) =>
  h("li", {}, svgKey(at(k)), ` ${name}`)));

function svgKey(at) {
  const made = s("svg", { width: 14, height: 14, "aria-hidden": "true" }, mark(at, 7, 7));
  made.style.display = "inline-block";
  made.style.verticalAlign = "-2px";
  return made;
}

const width = (name) => Math.max(260, Math.floor(document.querySelector(`[data-part="${name}"]`).clientWidth));

// What is so now

function showHead() {
  const status = now.status;
  const health = status === null ? "no daemon answers" : status.health;
  byId("silo").textContent = status?.node ?? past?.run?.node ?? "dcfm-node";
  byId("run").textContent = status ? `run ${status.run.name} ${status.run.id.slice(0, 8)}${status.schedule ? `, ${status.schedule}, ${status.participation}` : ""}` : "";
  const badge = byId("health");
  if (badge.textContent !== health) badge.textContent = health;
  badge.className = `badge ${{ healthy: "healthy", degraded: "degraded", starting: "degraded" }[status?.health] ?? "lost"}`;
  byId("fresh").textContent = `seen ${utc(now.time_ms).slice(11)} UTC`;
  const wrong = status ? causes(status.problems).length : 0;
  document.title = status ? `${wrong ? `(${wrong}) ` : ""}${status.node} · dcfm-node` : "no daemon · dcfm-node";
}

function showProblems() {
  const found = causes(now.status?.problems ?? []);
  if (now.status === null || now.unreachable) {
    found.push({ severity: "critical", code: "daemon-unreachable", subject: "this node", sentence: now.unreachable || "no daemon answers", fix: now.unreachable_fix, since_s: null, hence: [] });
  }
  found.sort((a, b) => SEVERITIES.indexOf(a.severity) - SEVERITIES.indexOf(b.severity));
  const key = found.map((p) => [p.code, p.subject, p.sentence, p.fix, p.since_s && ago(p.since_s), p.hence.map((q) => q.sentence)]);
  put("problems", [key, now.ready], () => {
    if (!found.length) return [h("p", { class: "good" }, "Nothing is wrong."), readyLine()];
    return [h("ul", { class: "plain" }, found.map((p) => h("li", { class: `problem ${SEVERITIES.includes(p.severity) ? p.severity : "warning"}` },
      h("p", { class: "what" }, h("span", { class: "sort" }, `${p.severity}: `), p.sentence),
      p.fix ? h("p", {}, h("strong", {}, "What to do: "), p.fix) : null,
      h("p", { class: "soft" }, h("code", {}, p.code), p.since_s === null ? "" : `, for ${ago(p.since_s)}`),
      p.hence.length ? h("details", {}, h("summary", {}, `${p.hence.length} more ${p.hence.length > 1 ? "follow" : "follows"} from it`),
        h("ul", {}, p.hence.map((q) => h("li", {}, q.sentence, " ", h("code", { class: "soft" }, q.code))))) : null))), readyLine()];
  });
}

const readyLine = () => (now.ready.ready
  ? h("p", {}, "This silo takes part in its run.")
  : h("p", {}, h("strong", {}, "This silo does not take part: "), now.ready.why.join("; ")));

function showStanding() {
  const status = now.status;
  if (status === null) return put("standing", null, () => h("p", {}, "Unknown: no daemon answers."));
  const doing = status.doing, phase = status.phase;
  const key = [phase, doing.activity, doing.done, doing.total, doing.why, doing.waiting_on, status.coverage?.silos, ago(status.uptime_s)];
  return put("standing", key, () => h("dl", {},
    h("dt", {}, "Stage"), h("dd", {}, phase ? `${phase.stage === "prepare" ? "prepare" : `${phase.stage}, round ${phase.round}`}: ${stageWords(phase.stage)}` : "the node is starting"),
    h("dt", {}, "This node"), h("dd", {}, doing.activity, doing.total ? [" ", bar(doing.done, doing.total, "Progress of this node's work")] : null),
    h("dt", {}, "Why"), h("dd", {}, doing.why),
    doing.waiting_on.length ? [h("dt", {}, "Waits for"), h("dd", {}, doing.waiting_on.join(", "))] : null,
    status.uptime_s ? [h("dt", {}, "Up"), h("dd", {}, `${ago(status.uptime_s)}, on ${status.worker.device}`)] : null));
}

function bar(done, total, label) {
  return [h("progress", { max: total, value: Math.min(done, total), "aria-label": label }), ` ${percent(Math.min(done, total) / total)}`];
}

function showSilos() {
  const silos = now.status?.silos;
  if (!silos) return put("silos", null, () => h("p", { class: "soft" }, "Not known while no running daemon answers."));
  const rows = silos.map((silo) => [silo.name, link(silo, "control"), link(silo, "bulk"), heard(silo), does(silo),
    silo.expert_round === null ? "none" : `round ${silo.expert_round}`, silo.joined ? silo.samples : null,
    silo.share === null ? null : percent(silo.share), silo.records, notes(silo), silo.version]);
  return put("silos", rows, () => table("Silos", [["silo"], ["control link"], ["bulk link"], ["heard"], ["does"], ["newest expert"],
    ["samples", "number"], ["share", "number"], ["records", "number"], ["to note"], ["version"]],
  silos.map((silo, at) => rows[at].map((cell, column) => decorated(silo, cell, column)))));
}

function decorated(silo, cell, column) {
  if (column === 4 && silo.total) return h("span", { class: "doing" }, `${silo.activity} `, bar(silo.done, silo.total, `Progress of ${silo.name}`));
  if ((column === 1 || column === 2) && cell !== "here") return h("span", { class: cell.startsWith("down") ? "bad" : "good" }, cell);
  if (column === 9 && cell) return h("span", { class: "warn" }, cell);
  return cell === null || cell === "" ? "-" : String(cell);
}

function link(silo, plane) {
  if (silo.self) return "here";
  const way = silo.links[plane];
  if (!way) return silo.by_bundle ? "by bundle" : "down";
  const state = way.via === "own" ? "up" : way.via || "down";
  return `${state} ${ago(way.for_s)}`;
}

const heard = (silo) => (silo.self ? "here" : silo.heard_ago_s === null ? "never" : silo.heard_ago_s < 10 ? "now" : `${ago(silo.heard_ago_s)} ago`);
const does = (silo) => (silo.withdrawn ? "has left" : silo.activity === null ? "unknown" : silo.total ? `${silo.activity} ${percent(silo.done / silo.total)}` : silo.activity);

function notes(silo) {
  return [
    ...Object.entries(silo.links).filter(([plane, way]) => !way.via && way.failures.length && (plane === "bulk") === silo.linked)
      .map(([plane, way]) => `${plane}: ${way.failures[0].reason}`),
    silo.late_s ? `the run has waited for it for ${ago(silo.late_s)}` : "", silo.trouble, silo.self || silo.linked || Object.values(silo.links).some((way) => way.failures.length) ? "" : silo.refused,
    silo.quarantined && `in quarantine: ${silo.quarantined}`, silo.forked ? "signed two histories" : "",
    silo.condemned ? "its newest expert is refused" : "",
    ...silo.verdicts.map((v) => `${v.cause} (${v.by.join(", ")}): ${v.reason}`),
  ].filter(Boolean).join("; ");
}

function showTransfers() {
  const doing = now.status?.doing;
  const rows = now.traffic.map((t) => [t.name, bytes(t.sent), bytes(t.received), rate(t.sent_per_s), rate(t.received_per_s)]);
  put("transfers", [rows, doing?.fetching], () => [
    h("p", {}, doing?.fetching?.length ? `Fetching ${doing.fetching.map((d) => d.slice(0, 12)).join(", ")}.` : "Nothing is being fetched."),
    rows.length ? table("Transfers", [["peer"], ["sent", "number"], ["received", "number"], ["sending", "number"], ["receiving", "number"]], rows) : null]);
}

const rate = (value) => (value === null ? "-" : `${bytes(value)}/s`);

// What the records say

function showTimeline() {
  const rows = (now?.status?.silos ?? []).map((silo) => silo.name);
  const names = rows.length ? rows : [...new Set(past.marks.map((m) => m.silo))];
  const found = past.marks.filter((m) => names.includes(m.silo));
  put("timeline", [width("timeline"), names, found.length, found.at(-1)], () => {
    if (!found.length) return h("p", { class: "soft" }, "No record yet.");
    const round = (m) => (m.round === null ? "" : ` of round ${m.round}`);
    const marks = found.map((m) => ({
      row: names.indexOf(m.silo), time: m.time_ms, kind: m.kind, label: m.final ? "final" : `round ${m.round}`,
      text: `${utc(m.time_ms)} ${m.silo} ${KIND_WORDS[m.kind] ?? m.kind}${round(m)}${m.final ? ", final" : ""}`,
    }));
    const kinds = [...new Set(marks.map((m) => m.kind))];
    const students = found.filter((m) => m.kind === "student").length;
    const about = `Timeline of ${names.length} silos: ${marks.length} records, ${students} students. The journal below lists them.`;
    return [timeline(width("timeline"), names, marks, { about, kinds: KINDS, clock: width("timeline") < 480 ? (ms) => utc(ms).slice(5, 16) : utc }),
      legend(kinds.map((kind) => KIND_WORDS[kind] ?? kind), (k) => KINDS[kinds[k]] ?? 7)];
  });
}

function showCoverage() {
  const run = past.run, found = now?.status?.coverage;
  if (!run) return put("coverage", null, () => h("p", { class: "soft" }, "Not known yet."));
  const held = run.held.length + run.held_more;
  const key = [held, run.combinations, found?.outside_hull, past.drawn];
  return put("coverage", key, () => [
    h("p", {}, `The silos hold ${held} of ${run.combinations} combinations${found && held < run.combinations
      ? found.outside_hull ? `. ${found.outside_hull} of the others cannot be composed from these` : ". The others can be composed from these" : ""}.`),
    h("p", { class: "soft" }, drawnWords(past.drawn)),
    h("ul", { class: "key" }, [["own", "held here"], ["other", "held by other silos"], ["probe", "held, but withheld from training (probe)"], ["nobody", "held by nobody: novel"]]
      .map(([kind, words]) => h("li", {}, h("span", { class: `swatch ${kind}` }), words)))]);
}

function drawnWords(drawn) {
  switch (drawn.state) {
    case "drawn": return `The pictures are draws of the released student ${drawn.student.slice(0, 12)}.`;
    case "drawing": return `Not drawn yet: draws of the student ${drawn.student.slice(0, 12)} are being made.`;
    case "failed": return `Not drawn: ${drawn.why}`;
    default: return `Not drawn yet: ${drawn.why}.`;
  }
}

function chooseAxes() {
  const names = past.run?.attributes.map((a) => a.name) ?? [];
  if (byId("rows").dataset.of === names.join("\n")) return;
  for (const [id, first] of [["rows", 0], ["columns", 1]]) {
    byId(id).replaceChildren(...names.map((name, at) => h("option", { value: at, selected: at === first }, name)));
    byId(id).dataset.of = names.join("\n");
  }
  byId("axes").hidden = names.length < 3;
}

function showMatrix() {
  const run = past.run;
  if (!run) return put("matrix", null, () => null);
  chooseAxes();
  const r = Number(byId("rows").value || 0);
  const one = run.attributes.length < 2;
  const c = one ? -1 : Number(byId("columns").value || 1);
  return put("matrix", [run.held, run.attributes, r, c, past.drawn, run.node], () => {
    if (r === c) return h("p", {}, "Choose two different attributes.");
    const cells = new Map();
    for (const held of run.held) {
      const at = `${held.label[r]}/${one ? 0 : held.label[c]}`;
      if (!cells.has(at)) cells.set(at, []);
      cells.get(at).push(held);
    }
    const columns = one ? [""] : run.attributes[c].values;
    const pictures = new Map();
    for (const name of past.drawn.cells) {
      const label = name.split("-").map(Number);
      const at = `${label[r]}/${one ? 0 : label[c]}`;
      if (!pictures.has(at)) pictures.set(at, name);
    }
    const corner = one ? run.attributes[r].name : [`${run.attributes[r].name}\u00a0↓`, h("br"), `${run.attributes[c].name}\u00a0→`];
    const head = h("thead", {}, h("tr", {}, h("th", { scope: "col" }, corner), columns.map((value) => h("th", { scope: "col" }, value || "samples"))));
    const body = h("tbody", {}, run.attributes[r].values.map((value, i) => h("tr", {}, h("th", { scope: "row" }, value),
      columns.map((other, j) => cell(run, cells.get(`${i}/${j}`) ?? [], pictures.get(`${i}/${j}`), [value, other].filter(Boolean).join(" ")))))); 
    return [h("div", { class: "wide", tabindex: 0, role: "region", "aria-label": "Composition matrix" }, h("table", { class: "matrix" }, head, body)),
      run.attributes.length > 2 ? h("p", { class: "soft" }, "A cell stands for all combinations with its two values; its picture is of one of them.") : null,
      run.held_more ? h("p", { class: "soft" }, `${run.held_more} more combinations are held, and not shown.`) : null];
  });
}

function cell(run, held, picture, label) {
  const silos = new Map();
  for (const one of held) for (const [silo, count] of Object.entries(one.samples)) silos.set(silo, (silos.get(silo) ?? 0) + count);
  const probe = held.length > 0 && held.every((one) => one.probe);
  const kind = !held.length ? "nobody" : probe ? "probe" : silos.has(run.node) ? "own" : "other";
  const words = { nobody: "nobody", probe: "probe", own: "here", other: "others" }[kind];
  const image = picture === undefined ? null : h("img", {
    src: `cells/${past.drawn.student}/${picture}.png`, alt: `A draw of ${label}`,
    class: run.sample_shape.length === 3 ? "pixels" : null, width: 84, height: 84,
  });
  return h("td", { class: kind }, image, h("small", {}, words), [...silos].slice(0, 6).map(([silo, count]) => h("small", {}, `${silo} ${count}`)),
    silos.size > 6 ? h("small", {}, `and ${silos.size - 6} more`) : null);
}

function showExpected() {
  const students = now?.status?.students ?? [];
  const key = [width("expected"), students.map((x) => [x.digest, x.expected])];
  put("expected", key, () => {
    const byRound = [...new Map(students.map((x) => [x.round, x])).values()];
    const series = ["known", "novel"].map((kind) => ({
      name: { known: "combinations that silos train on", novel: "novel combinations" }[kind],
      points: byRound.filter((x) => x.expected[kind]).map((x) => ({ x: x.round, y: x.expected[kind].value, low: x.expected[kind].low, high: x.expected[kind].high })),
    }));
    if (!series.some((of) => of.points.length)) return h("p", { class: "soft" }, students.length ? `Not measured: ${students.at(-1).expected.why || "no silo could judge"}.` : "No student yet.");
    const floor = students.at(-1).expected.floor;
    return [lines(width("expected"), series, { about: "Share of draws that are expected to be right, by round; the table below has the numbers", xName: "round", yMin: 0, yMax: 1, floor, whole: true }),
      legend(series.map((of) => of.name)), h("p", { class: "soft" }, `Dashed: the floor, ${figure(floor)}. Bars: the interval.`),
      h("details", {}, h("summary", {}, "Numbers"), table("Announced quality", [["round"], ["known"], ["novel"], ["in words"]],
        byRound.map((x) => [String(x.round), estimate(x.expected.known), estimate(x.expected.novel), x.expected.text])))];
  });
}

const estimate = (part) => (part === null ? "not measured" : `${figure(part.value)} (${figure(part.low)} to ${figure(part.high)})`);

function showLosses() {
  put("losses", [width("losses"), past.experts.length, past.experts.at(-1)], () => {
    const names = [...new Set(past.experts.map((e) => e.silo))].sort();
    const loss = (e) => e.metrics.holdout_loss ?? e.metrics.train_loss ?? null;
    const series = names.map((name) => ({ name, points: past.experts.filter((e) => e.silo === name && loss(e) !== null).map((e) => ({ x: e.round, y: loss(e) })) }));
    if (!series.some((of) => of.points.length)) return h("p", { class: "soft" }, past.experts.length ? "The experts state no loss." : "No expert yet.");
    return [lines(width("losses"), series, { about: "Loss of each silo's expert, by round; the table below has the numbers", xName: "round", whole: true }), legend(names),
      h("details", {}, h("summary", {}, "Numbers"), table("Losses", [["silo"], ["round", "number"], ["figures"]],
        past.experts.map((e) => [e.silo, String(e.round), Object.entries(e.metrics).map(([k, v]) => `${k} ${figure(v)}`).join(", ")])))];
  });
}

function showWork() {
  const points = now.work;
  put("work", [width("work"), points.length, points.at(-1)], () => {
    const work = points.at(-1)?.work;
    const same = points.filter((p) => p.work === work && p.loss !== null);
    if (same.length < 2) return h("p", { class: "soft" }, "This node trains nothing now, or has just begun.");
    return [lines(width("work"), [{ name: work, points: same.map((p) => ({ x: p.done, y: p.loss })) }], { about: `Loss of ${work}, by step`, xName: "step", marks: false }),
      h("p", { class: "soft" }, `${work}: loss ${figure(same.at(-1).loss)} at step ${same.at(-1).done}, as far as this page watched.`)];
  });
}

function showStudent() {
  const latest = now?.status?.latest, all = now?.status?.students ?? [];
  const chosen = latest ?? all.at(-1);
  put("student", [chosen, past.experts.length, past.drawn.state], () => {
    if (!chosen) return h("p", {}, "No student yet.");
    const known = new Map([...past.experts.map((e) => [e.digest, { ...e, kind: "expert" }]), ...all.map((x) => [x.digest, { ...x, kind: "student" }])]);
    return [
      h("dl", {},
        h("dt", {}, "Student"), h("dd", {}, h("code", {}, chosen.digest.slice(0, 16)), ` of round ${chosen.round}, ${bytes(chosen.bytes)}, distilled by ${chosen.leader}`),
        h("dt", {}, "Standing"), h("dd", {}, chosen.released ? h("span", { class: "good" }, "released") : "not released"),
        h("dt", {}, "Expected"), h("dd", {}, chosen.expected.text),
        h("dt", {}, "Endorsed by"), h("dd", {}, chosen.endorsed_by.join(", ") || "nobody"),
        Object.keys(chosen.refused_by).length ? [h("dt", {}, "Refused by"), h("dd", {}, Object.entries(chosen.refused_by).map(([k, v]) => `${k}: ${v}`).join("; "))] : null,
        chosen.missing.length ? [h("dt", {}, "Missing"), h("dd", {}, chosen.missing.join(", "))] : null,
        past.drawn.state === "drawn" && chosen.digest === past.drawn.student ? [h("dt", {}, "Files"), h("dd", {}, ["model.safetensors", "config.json", "README.md", "lineage.msgpack"].flatMap((name) => [h("a", { href: `student/${chosen.digest}/${name}`, download: true }, name), " "]), h("a", { href: `student/${chosen.digest}.tar`, download: "student.tar" }, "all as student.tar"))] : null),
      h("h3", {}, "Where it comes from"),
      h("ul", { class: "lineage" }, branch(ancestry(chosen, known), 0)),
    ];
  });
}

/** A student with its teachers, and what each of those was trained from. */
function branch({ student, older }, depth) {
  const teachers = h("ul", {}, student.teachers.map((t) => h("li", {}, `expert of ${t.silo}, round ${t.round} `, h("code", { class: "soft" }, t.digest.slice(0, 12)),
    t.round === 0 ? ": trained on the data of that silo alone" : "")));
  return h("li", {}, h("strong", {}, `student of round ${student.round}`), " ", h("code", { class: "soft" }, student.digest.slice(0, 12)), " distilled from", teachers,
    older.length ? h("details", { open: depth < 1 }, h("summary", {}, "these experts were refined from"), h("ul", {}, older.map((x) => branch(x, depth + 1)))) : null);
}

function showJournal() {
  for (const [id, field] of [["of-silo", "silo"], ["of-kind", "kind"]]) {
    const values = [...new Set(past.records.map((r) => r[field]))].sort();
    if (byId(id).dataset.of !== values.join("\n")) {
      const chosen = byId(id).value;
      byId(id).replaceChildren(h("option", { value: "" }, "all"), ...values.map((v) => h("option", { value: v, selected: v === chosen }, v)));
      byId(id).dataset.of = values.join("\n");
    }
  }
  const silo = byId("of-silo").value, kind = byId("of-kind").value;
  const rows = past.records.filter((r) => (!silo || r.silo === silo) && (!kind || r.kind === kind));
  put("journal", [silo, kind, rows.length, rows[0], past.records_more, most], () => [
    rows.length ? h("ol", { class: "journal" }, rows.slice(0, most).map((r) => h("li", {},
      h("time", {}, utc(r.time_ms)), h("strong", {}, r.silo), h("span", {}, r.kind), h("span", { class: "says" }, r.says)))) : h("p", { class: "soft" }, "No such record."),
    rows.length > most ? more(rows.length - most) : null,
    past.records_more ? h("p", { class: "soft" }, `${past.records_more} older records: dcfm-node journal --silo NAME.`) : null]);
}

function more(left) {
  const button = h("button", { type: "button" }, `Show ${Math.min(left, MORE)} more`);
  button.addEventListener("click", () => { most += MORE; show(); });
  return button;
}

// Keeping it fresh

function show() {
  if (now !== null) { showHead(); showProblems(); showStanding(); showSilos(); showTransfers(); showWork(); }
  if (past !== null) { showTimeline(); showCoverage(); showMatrix(); showExpected(); showLosses(); showStudent(); showJournal(); }
}

function lost(why) {
  const badge = byId("health");
  if (badge.textContent !== why) badge.textContent = why;
  badge.className = "badge lost";
}

async function poll() {
  try {
    const answers = await Promise.all(["now", "past"].map((name) => fetch(name)));
    if (answers.some((answer) => !answer.ok)) throw new Error(`HTTP ${answers.find((answer) => !answer.ok).status}`);
    [now, past] = await Promise.all(answers.map((answer) => answer.json()));
    show();
  } catch {
    lost("the page's process does not answer");
  }
}

function watch() {
  const events = new EventSource("events");
  events.addEventListener("now", (event) => { now = JSON.parse(event.data); show(); });
  events.addEventListener("past", (event) => { past = JSON.parse(event.data); show(); });
  events.addEventListener("error", () => {
    lost("the page's process does not answer");
    // The browser gives up where the answer is no stream, as when too many watch: ask instead.
    if (events.readyState === EventSource.CLOSED) { poll(); setTimeout(watch, 30000); }
  });
}

for (const id of ["rows", "columns", "of-silo", "of-kind"]) byId(id).addEventListener("change", show);
let resized = 0;
addEventListener("resize", () => { clearTimeout(resized); resized = setTimeout(show, 200); });
watch();
