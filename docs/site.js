// What the theme leaves to be named: the search dialog for screen readers, and wide tables for the keyboard, which must reach them to scroll.
// An empty corner of a table is no header, and the copy button of a code block no landmark.
document$.subscribe(() => {
  document.querySelectorAll("[role=dialog]:not([aria-label])").forEach((dialog) => dialog.setAttribute("aria-label", "Search"));
  document.querySelectorAll(".md-typeset__scrollwrap").forEach((table) => (table.tabIndex = 0));
  document.querySelectorAll("th:empty").forEach((corner) => corner.replaceWith(document.createElement("td")));
  requestAnimationFrame(() => document.querySelectorAll(".md-code__nav").forEach((nav) => (nav.role = "none")));
});
