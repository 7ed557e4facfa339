// Replaces the networks every five seconds, and keeps focus and scroll positions.
"use strict";
setInterval(async () => {
  if (document.hidden) {
    return;
  }
  try {
    const response = await fetch(location.href);
    if (!response.ok) {
      return;
    }
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    const tables = () => Array.from(document.querySelectorAll(".table"));
    const scrolled = tables().map((table) => table.scrollLeft);
    const focused = tables().indexOf(document.activeElement);
    document.getElementById("networks").replaceWith(page.getElementById("networks"));
    tables().forEach((table, place) => {
      table.scrollLeft = scrolled[place] || 0;
      if (place === focused) {
        table.focus({ preventScroll: true });
      }
    });
  } catch (error) {
    // The service does not answer now; the page shows its last state.
  }
}, 5000);
