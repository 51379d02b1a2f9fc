// One large picture, its neighbours in time below it and its details at the side.

import { byId, clock, colourOf, make } from "./dom.js";
import { Frame, showFacts } from "./facts.js";
import { remark } from "./pictures.js";

const AHEAD = 6; // pictures fetched before they are wanted
const LARGEST = 6; // times a picture is enlarged at most

export class One {
  #row = null; // whose picture the stage is for
  #noted = null; // the item whose note is in the field
  #before = ""; // what the field held when the cursor came

  constructor(session, pictures) {
    Object.assign(this, { session, pictures, frame: new Frame(pictures) });
    const [picture, note] = [byId("picture"), byId("note")];
    picture.addEventListener("load", () => this.#loaded());
    note.addEventListener("focus", () => ([this.#noted, this.#before] = [session.item, note.value.trim()]));
    note.addEventListener("blur", () => {
      const text = note.value.trim();
      if (![this.#before, this.#noted.note].includes(text)) session.decide([this.#noted], "note", text); // what nobody changed here may be changed elsewhere
      this.describe();
    });
    note.addEventListener("keydown", (event) => this.#noteKey(event));
  }

  /** Whether the current picture is visible: one that is still loading is not labelled. */
  get seen() {
    return this.session.item !== undefined && byId("stage").dataset.seen === String(this.session.item.row);
  }

  /** Shows the current item. */
  show() {
    const item = this.session.item;
    this.describe();
    if (!item) return (this.#row = null);
    if (item.row !== this.#row || !this.seen) {
      clearStrip(); // or it would show where the picture before was
      this.#stage(item);
    }
    this.frame.show(item);
    this.#strip(item).catch(() => {}); // without the server there is no strip; the stage reports that
    for (const next of this.session.items.slice(this.session.at + 1, this.session.at + 1 + AHEAD)) this.pictures.get(next.row, "large").catch(() => {});
    for (const next of this.session.items.slice(this.session.at + 1, this.session.at + 3)) this.session.neighbours(next.row).catch(() => {});
  }

  /** Redraws the details of the current item and the marks of its neighbours. */
  describe() {
    const item = this.session.item;
    if (!item) return;
    const named = this.session.classes.findIndex((entry) => entry.name === item.label);
    byId("name").textContent = item.name;
    byId("name").title = item.source;
    byId("verdict").replaceChildren(verdict(item, named));
    byId("stage").dataset.colour = named < 0 ? "" : colourOf(named);
    showFacts(item, this.session);
    if (document.activeElement !== byId("note")) byId("note").value = item.note;
    for (const thumb of byId("strip").children) mark(thumb, thumb.item, this.session);
  }

  /** Takes away what is around the current picture, as another one is fetched. */
  leave() {
    clearStrip();
    this.frame.hide();
  }

  /** Moves the cursor to the note. */
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
    byId("remark").textContent = "";
    const slow = setTimeout(() => this.#row === item.row && !this.seen && (wait.textContent = "Loading the picture …"), 200);
    try {
      const { url, original } = await this.pictures.get(item.row, "large");
      if (this.#row !== item.row) return;
      byId("remark").textContent = remark(original);
      picture.src = url;
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
    const { before, after } = await this.session.neighbours(item.row);
    const items = await this.session.known([...before, item.row, ...after]);
    if (this.#row !== item.row) return;
    byId("strip").ariaBusy = "false";
    byId("strip").replaceChildren(...items.map((near) => this.#thumb(near, near.row === item.row)));
  }

  #thumb(item, current) {
    const picture = make("img", { alt: "" });
    const when = item.time === null ? (item.page ? `page ${item.page}` : "") : clock(item.time);
    const thumb = make("button", { className: "thumb", item, title: item.name }, picture, make("span", { className: "when" }, when));
    thumb.ariaLabel = `${item.name} ${when}`;
    if (current) thumb.ariaCurrent = "true";
    else thumb.addEventListener("click", () => this.session.visit(item.row).catch((error) => this.session.tell(error.message)));
    thumb.ariaBusy = "true";
    this.pictures.get(item.row, "small").then(({ url, original }) => this.#fill(thumb, picture, url, original), () => {}).finally(() => (thumb.ariaBusy = "false"));
    return mark(thumb, item, this.session);
  }

  #fill(thumb, picture, url, original) {
    picture.src = url;
    thumb.dataset.original = original;
    thumb.title = [thumb.item.name, remark(original)].filter(Boolean).join(": ");
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

function clearStrip() {
  byId("strip").ariaBusy = "true";
  byId("strip").replaceChildren();
}

/** Marks a small picture with its label's colour and name, or as skipped. */
export function mark(thumb, item, session) {
  const named = session.classes.findIndex((entry) => entry.name === item.label);
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
