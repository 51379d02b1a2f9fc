// What is known of a picture: names and values, each with what it means as a tooltip; and the whole frame a crop was cut from.

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

/** Returns the facts of an item as the children of a <dl>. */
export function facts(item, session) {
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
  return all.filter(([, value]) => value).flatMap(([name, value]) => {
    const title = MEANING[name] ?? "";
    return [make("dt", { title, className: title && "explained" }, name), make("dd", { title }, value)];
  });
}

/** The whole frame beside a crop: what somebody is may be told by where he stands. */
export class Frame {
  #row = null;

  constructor(pictures) {
    this.pictures = pictures;
  }

  /** Shows the frame of an item; nothing for a whole picture, or where the original is not there. */
  async show(item) {
    if (item?.row === this.#row) return;
    this.#row = item?.row ?? null;
    byId("frame").hidden = true;
    if (!item?.box) return;
    try {
      const { url } = await this.pictures.get(item.row, "frame");
      if (this.#row !== item.row) return;
      byId("frame-picture").src = url;
      byId("frame-picture").alt = `The whole of ${item.name}, with a box around this crop`;
      byId("frame").hidden = false;
    } catch {
      // the original is gone: the stage says so
    }
  }
}
