// What is known of a picture: names and values, each with what it means as a tip; and the whole frame a crop was cut from.

import { byId, clock, count, make } from "./dom.js";

const MEANING = {
  Rank: "The place in the list of winnow select: the first n of it are a good choice of n.",
  Why: "Why the picture was chosen, or set aside.",
  "p-value": "The share of normal pictures that look at least as unusual as this one. 0.01: one normal picture in a hundred does. Small: it does not belong.",
  Time: "Since the start of the video, in hours, minutes and seconds.",
  Confidence: "How sure the detector was of this box, from 0 to 1.",
  Box: "Width and height of the crop, and where its upper left corner is in the frame, in pixels.",
  Group: "Pictures of one group, such as a video or a folder, are held out together when a classifier is tested.",
  Source: "The file, as it was ingested.",
};

/** Shows the facts of an item; what is shown already stays, and keeps the focus. */
export function showFacts(item, session) {
  const all = [
    ["Rank", item.rank === null ? null : `${count(item.rank)} of ${count(session.lane("chosen").total)} chosen`],
    ["Why", item.why],
    ["p-value", item.score === null ? null : `${Number(item.score.toPrecision(3))} (small = anomalous)`],
    ["Time", item.time === null ? null : clock(item.time)],
    ["Page", item.page && String(item.page)],
    ["Confidence", item.confidence === null ? null : item.confidence.toFixed(2)],
    ["Box", item.box && `${item.box[2]} × ${item.box[3]} at ${item.box[0]}, ${item.box[1]}`],
    ["Group", item.group === item.source ? null : item.group],
    ["Source", item.source],
  ];
  const told = all.filter(([, value]) => value);
  const [list, shown] = [byId("facts"), JSON.stringify(told)];
  if (list.dataset.shown === shown) return;
  list.dataset.shown = shown;
  list.replaceChildren(...told.flatMap(([name, value]) => [make("dt", {}, explained(name)), make("dd", {}, value)]));
}

/** A name that tells what it means to a pointer, to the keyboard's focus, to a finger and to a screen reader. */
function explained(name) {
  const tip = MEANING[name];
  return tip ? make("button", { type: "button", className: "explained", ariaDescription: tip, dataset: { tip } }, name) : name;
}

/** The whole frame beside a crop: what somebody is may be told by where he stands. Asked for, it is shown large. */
export class Frame {
  #row = null;

  constructor(pictures) {
    this.pictures = pictures;
    byId("frame-open").addEventListener("click", () => this.toggle());
  }

  /** Shows the frame large, or as it was; on a narrow page, where there is no room beside the crop, shows and hides it. */
  toggle() {
    if (byId("frame").hidden) return;
    const large = byId("frame").classList.toggle("large");
    byId("frame-open").ariaPressed = String(large);
  }

  hide() {
    this.#row = null;
    byId("frame").hidden = byId("frame-open").hidden = true;
  }

  /** Shows the frame of an item; nothing for a whole picture, or where the original is not there. */
  async show(item) {
    if (item?.row === this.#row) return;
    this.hide();
    this.#row = item?.row ?? null;
    if (!item?.box) return;
    try {
      const { url } = await this.pictures.get(item.row, "frame");
      if (this.#row !== item.row) return;
      byId("frame-picture").src = url;
      byId("frame-picture").alt = `The whole of ${item.name}, with a box around this crop`;
      byId("frame").hidden = byId("frame-open").hidden = false;
    } catch {
      // the original is gone: the stage says so
    }
  }
}
