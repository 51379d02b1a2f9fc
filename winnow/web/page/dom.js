// The few lines between the page's code and the document. Text only ever becomes text nodes, never markup.

export const byId = (id) => document.getElementById(id);

/** Makes an element with properties (and `dataset`) and children: nodes, or strings that become text. */
export function make(tag, { dataset = {}, ...properties } = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  Object.assign(node.dataset, dataset);
  node.append(...children);
  return node;
}

/** Returns the number of a class's colour, the same wherever it appears; `base.css` holds the colours. */
export const colourOf = (number) => String(number % 8);

/** Returns seconds into a video as h:mm:ss.d. */
export function clock(seconds) {
  const tenths = Math.round(seconds * 10);
  const [hours, minutes, rest] = [Math.floor(tenths / 36000), Math.floor(tenths / 600) % 60, (tenths % 600) / 10];
  const end = `${String(minutes).padStart(hours ? 2 : 1, "0")}:${rest.toFixed(1).padStart(4, "0")}`;
  return hours ? `${hours}:${end}` : end;
}

/** Returns paths without the folders that all of them begin with: what is cut off at the end of a line is what tells them apart. */
export function apart(paths) {
  if (paths.length < 2) return paths;
  const parts = paths.map((path) => path.split("/"));
  let shared = 0;
  while (parts.every((own) => shared < own.length - 1 && own[shared] === parts[0][shared])) shared += 1;
  return parts.map((own) => own.slice(shared).join("/"));
}

/** Returns a count with spaces between thousands, as in the reports. */
export const count = (number) => number.toLocaleString("en").replaceAll(",", "\u202f");
