// What the theme leaves to be named: the search dialog for screen readers, and wide tables for the keyboard, which must reach them to scroll.
document$.subscribe(() => {
  document.querySelectorAll("[role=dialog]:not([aria-label])").forEach((dialog) => dialog.setAttribute("aria-label", "Search"));
  document.querySelectorAll(".md-typeset__scrollwrap").forEach((table) => (table.tabIndex = 0));
});
