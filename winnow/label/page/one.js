// One picture large, its neighbours in time below, what is known of it at the side.

import { byId, clock, colourOf, count, make } from "./dom.js";

const AHEAD = 6; // pictures fetched before they are wanted
const LARGEST = 6; // times a picture is enlarged at most

export class One {
  #row = null; // whose picture the stage is for
  #noted = null; // the item whose note is in the field

  constructor(desk, pictures) {
    Object.assign(this, { desk, pictures });
    const [picture, note] = [byId("picture"), byId("note")];
    picture.addEventListener("load", () => this.#loaded());
    note.addEventListener("focus", () => (this.#noted = desk.item));
    note.addEventListener("blur", () => {
      if (note.value.trim() !== this.#noted.note) desk.decide([this.#noted], "note", note.value.trim());
    });
    note.addEventListener("keydown", (event) => this.#noteKey(event));
  }

  /** Whether the person sees the current picture: nobody labels one that is still on its way. */
  get seen() {
    return this.desk.item !== undefined && byId("stage").dataset.seen === String(this.desk.item.row);
  }

  /** Shows the current item. */
  show() {
    const item = this.desk.item;
    this.describe();
    if (!item) return (this.#row = null);
    if (item.row !== this.#row || !this.seen) this.#stage(item);
    this.#strip(item).catch(() => {}); // without the server there is no strip; the stage says so
    for (const next of this.desk.items.slice(this.desk.at + 1, this.desk.at + 1 + AHEAD)) this.pictures.get(next.row, "large").catch(() => {});
    for (const next of this.desk.items.slice(this.desk.at + 1, this.desk.at + 3)) this.desk.neighbours(next.row).catch(() => {});
  }

  /** Shows again what holds for the current item and its neighbours. */
  describe() {
    const item = this.desk.item;
    if (!item) return;
    const named = this.desk.classes.findIndex((entry) => entry.name === item.label);
    byId("name").textContent = item.name;
    byId("name").title = item.source;
    byId("verdict").replaceChildren(verdict(item, named));
    byId("stage").dataset.colour = named < 0 ? "" : colourOf(named);
    byId("facts").replaceChildren(...facts(item, this.desk).flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]));
    if (document.activeElement !== byId("note")) byId("note").value = item.note;
    for (const thumb of byId("strip").children) mark(thumb, thumb.item, this.desk);
  }

  /** Puts the cursor into the note. */
  note() {
    byId("note").focus();
  }

  async #stage(item) {
    const [stage, picture, wait] = [byId("stage"), byId("picture"), byId("wait")];
    this.#row = item.row;
    delete stage.dataset.seen;
    picture.removeAttribute("src");
    picture.alt = item.name;
    wait.textContent = "";
    const slow = setTimeout(() => this.#row === item.row && !this.seen && (wait.textContent = "Loading the picture …"), 200);
    try {
      const url = await this.pictures.get(item.row, "large");
      if (this.#row === item.row) picture.src = url;
    } catch (error) {
      clearTimeout(slow);
      if (this.#row === item.row) wait.textContent = `The picture cannot be shown: ${error.message}`;
    }
  }

  #loaded() {
    const [stage, picture] = [byId("stage"), byId("picture")];
    picture.style.maxWidth = `${LARGEST * picture.naturalWidth}px`;
    picture.style.maxHeight = `${LARGEST * picture.naturalHeight}px`;
    byId("wait").textContent = "";
    stage.dataset.seen = String(this.#row);
  }

  async #strip(item) {
    const { before, after } = await this.desk.neighbours(item.row);
    const items = await this.desk.known([...before, item.row, ...after]);
    if (this.#row !== item.row) return;
    byId("strip").replaceChildren(...items.map((near) => this.#thumb(near, near.row === item.row)));
  }

  #thumb(item, current) {
    const picture = make("img", { alt: "" });
    const when = item.time === null ? "" : clock(item.time);
    const thumb = make("button", { className: "thumb", item, title: item.name }, picture, make("span", { className: "when" }, when));
    thumb.ariaLabel = `${item.name} ${when}`;
    if (current) thumb.ariaCurrent = "true";
    else thumb.addEventListener("click", () => this.desk.visit(item.row).catch((error) => this.desk.tell(error.message)));
    this.pictures.get(item.row, "small").then((url) => (picture.src = url), () => {});
    return mark(thumb, item, this.desk);
  }

  #noteKey(event) {
    const note = event.target;
    if (event.key === "Escape") note.value = this.#noted.note;
    if (event.key === "Escape" || (event.key === "Enter" && !event.shiftKey)) {
      event.preventDefault();
      event.stopPropagation();
      note.blur();
    }
  }
}

/** Marks a small picture with its label's colour and name, or as skipped. */
export function mark(thumb, item, desk) {
  const named = desk.classes.findIndex((entry) => entry.name === item.label);
  const text = item.skipped ? "skipped" : (item.label ?? "");
  let chip = thumb.querySelector(".chip");
  if (!chip) thumb.append((chip = make("span", { className: "chip" })));
  chip.textContent = text;
  chip.hidden = !text;
  thumb.dataset.colour = named < 0 ? "" : colourOf(named);
  thumb.classList.toggle("decided", text !== "");
  return thumb;
}

function verdict(item, named) {
  if (item.skipped) return make("span", { className: "chip" }, "skipped");
  if (item.label === null) return make("span", { className: "dim" }, "not labelled");
  const by = item.by ? make("span", { className: "dim" }, ` by ${item.by}`) : "";
  return make("span", {}, make("span", { className: "chip", dataset: { colour: colourOf(Math.max(named, 0)) } }, item.label), by);
}

function facts(item, desk) {
  const all = [
    ["Rank", item.rank === null ? null : `${count(item.rank)} of ${count(desk.lane("chosen").total)} chosen`],
    ["Why", item.why],
    ["p-value (small: foreign)", item.score === null ? null : String(Number(item.score.toPrecision(3)))],
    ["Time", item.time === null ? null : clock(item.time)],
    ["Confidence", item.confidence === null ? null : item.confidence.toFixed(2)],
    ["Box", item.box && `${item.box[2]} × ${item.box[3]} at ${item.box[0]}, ${item.box[1]}`],
    ["Group", item.group === item.source ? null : item.group],
    ["Source", item.source],
  ];
  return all.filter(([, value]) => value);
}
