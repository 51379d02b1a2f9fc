// The page of a watch: asks each second how it stands, and draws it.

import { byId, clock, count, make } from "./dom.js";
import { Server, ServerError, takeToken } from "./server.js";

const EVERY = 1000;
const SURE = 3; // a p-value of so many powers of ten below 1 is the highest bar
const STATES = { in: "belongs", out: "does not belong", unsure: "unsure", away: "away", ended: "ended" };
const SVG = "http://www.w3.org/2000/svg";

const pictures = new Map(); // by name: the address of what was fetched
let server;

/** Shows a picture once it is there; `version` tells one picture of a name from the next. */
async function show(image, name, version) {
  if (image.dataset.version === version) return;
  image.dataset.version = version;
  try {
    const address = URL.createObjectURL(await server.blob(`picture?name=${encodeURIComponent(name)}`));
    if (pictures.has(image)) URL.revokeObjectURL(pictures.get(image));
    pictures.set(image, address);
    image.src = address;
  } catch (error) {
    if (!(error instanceof ServerError)) throw error;
  }
}

/** Returns when something was, as people say it: seconds of a video, the time of day of a camera. */
function when(time) {
  if (time === null || time === undefined) return "";
  return time > 1e9 ? new Date(1000 * time).toLocaleTimeString() : clock(time);
}

/** Draws a bar a verdict, the higher the more anomalous; those that do not belong have a colour of their own. */
function bars(svg, verdicts) {
  svg.setAttribute("viewBox", `0 0 ${Math.max(verdicts.length, 60)} 20`);
  svg.replaceChildren(...verdicts.map(([pValue, belongs], place) => {
    const height = Math.min(-Math.log10(Math.max(pValue, 1e-9)) / SURE, 1);
    const bar = document.createElementNS(SVG, "rect");
    const tall = Math.max(0.4, 20 * height);
    for (const [key, value] of Object.entries({ x: place, y: 20 - tall, width: 0.8, height: tall })) bar.setAttribute(key, value);
    if (!belongs) bar.setAttribute("class", "high");
    return bar;
  }));
}

function sourceCard(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", "How anomalous the last pictures are, over time: high is anomalous");
  const card = make("article", { className: "source", dataset: { name } },
    make("img", { alt: `The newest picture of ${name}`, hidden: true }),
    make("div", {}, make("h3", {}, name), make("p", { className: "state" }), make("p", { className: "warning", hidden: true }),
      make("p", { className: "number" }), svg));
  return card;
}

function showSource(card, source) {
  const [image, state, warning, numbers, svg] = ["img", ".state", ".warning", ".number", "svg"].map((one) => card.querySelector(one));
  card.dataset.state = source.state;
  state.textContent = STATES[source.state] ?? (source.state || (source.judged ? "judging" : "nothing yet"));
  warning.textContent = source.warning;
  warning.hidden = !source.warning;
  numbers.textContent = [`${count(source.judged)} judged`, `${count(source.foreign)} do not belong`,
    source.refused && `${count(source.refused)} refused`, source.left_out && `${count(source.left_out)} frames left out`].filter(Boolean).join(" · ");
  bars(svg, source.last);
  image.hidden = !source.pictured;
  if (source.pictured) show(image, source.name, String(source.judged));
}

/** Makes the children of `parent` those of `items`, each made once by its key, and has `update` bring them up to date. */
function keep(parent, items, key, create, update = () => {}) {
  const there = new Map([...parent.children].map((node) => [node.dataset.key, node]));
  const nodes = items.map((item) => {
    const node = there.get(key(item)) ?? create(item);
    node.dataset.key = key(item);
    update(node, item);
    there.delete(key(item));
    return node;
  });
  for (const gone of there.values()) {
    for (const image of gone.querySelectorAll("img")) {
      if (pictures.has(image)) URL.revokeObjectURL(pictures.get(image));
      pictures.delete(image);
    }
  }
  if (nodes.some((node, place) => parent.children[place] !== node) || there.size) parent.replaceChildren(...nodes);
}

function foreignFigure(one) {
  const where = [when(one.time), one.page !== null && `page ${one.page}`].filter(Boolean).join(", ");
  const name = one.source.split("/").pop() || one.source;
  const image = make("img", { alt: `${name} ${where}: does not belong` });
  if (one.pictured) show(image, one.id, "1");
  const said = [`score ${Number(one.score).toPrecision(3)} of ${Number(one.threshold).toPrecision(3)} allowed`,
    one.p_value !== null && `p-value ${Number(one.p_value).toPrecision(2)}`, one.region].filter(Boolean).join(", ");
  const caption = make("figcaption", { title: one.source }, make("b", {}, [name, where].filter(Boolean).join(" · ")), said);
  return make("figure", {}, ...(one.pictured ? [image] : []), caption);
}

function happening(event) {
  const kind = event.event === "segment" ? (event.belongs ? "in" : "out") : event.event;
  const time = event.event === "segment" ? `${when(event.start)} to ${when(event.end)}` : when(event.time);
  const more = event.reason ?? event.region ?? (event.changes ?? []).join("; ");
  const sheet = event.pictures ? [make("img", { alt: "Pictures before the change, above, and since, below" })] : [];
  for (const image of sheet) show(image, event.id, "1");
  return make("li", { dataset: { kind } }, make("b", {}, kind), make("span", { className: "number" }, time),
    make("span", {}, event.source), make("span", { className: "dim" }, more), ...sheet);
}

function draw(state) {
  byId("folder").textContent = `what is found goes to ${state.folder}`;
  keep(byId("sources"), state.sources, (one) => one.name, (one) => sourceCard(one.name), showSource);
  keep(byId("foreign"), state.foreign, (one) => one.id, foreignFigure);
  keep(byId("happened"), state.happened, (one) => one.id, happening);
  byId("no-foreign").hidden = state.foreign.length > 0;
  byId("no-happened").hidden = state.happened.length > 0;
  say(state.ended ? "The watch has ended." : "");
}

function say(text) {
  const trouble = byId("trouble");
  if (trouble.textContent !== text) trouble.textContent = text;
  trouble.hidden = !text;
}

async function follow() {
  let ended = false;
  while (!ended) {
    if (!document.hidden) {
      try {
        const state = await server.get("state");
        draw(state);
        ended = state.ended;
      } catch (error) {
        if (!(error instanceof ServerError)) throw error;
        say(`${error.message} ${error.remedy}`);
        if (error.status === 401) return;
      }
    }
    await new Promise((done) => setTimeout(done, EVERY));
  }
}

server = new Server(await takeToken(), "The watch", "winnow watch --page");
follow();
