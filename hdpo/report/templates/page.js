(() => {
  "use strict";
  document.documentElement.classList.add("js");
  const table = document.getElementById("verdict-table");
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const status = document.getElementById("verdict-status");
  const heads = [...table.tHead.rows[0].cells];

  const keyOf = (row, column, numeric) => {
    const cell = row.cells[column];
    const text = (cell.dataset.key ?? cell.textContent).trim();
    if (!numeric) return text;
    const found = text.replaceAll("−", "-").match(/[-+]?\d+(\.\d+)?/);
    return found ? Number(found[0]) : null;
  };
  const compare = (a, b, direction) => {
    if (a === null || b === null) return (a === null) - (b === null);
    const order = typeof a === "number" ? a - b : a.localeCompare(b, "en");
    return direction * order;
  };
  heads.forEach((head, column) => {
    head.querySelector("button").addEventListener("click", () => {
      const ascending = head.getAttribute("aria-sort") !== "ascending";
      const numeric = head.dataset.type === "number";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
      const keyed = rows.map((row, place) => ({ row, place, key: keyOf(row, column, numeric) }));
      keyed.sort((a, b) => compare(a.key, b.key, ascending ? 1 : -1) || a.place - b.place);
      body.append(...keyed.map((entry) => entry.row));
      status.textContent = `Sorted by ${head.textContent.trim()}, ${ascending ? "ascending" : "descending"}.`;
    });
  });

  const buttons = [...document.querySelectorAll(".filter button")];
  for (const button of buttons) {
    button.addEventListener("click", () => {
      for (const other of buttons) other.setAttribute("aria-pressed", String(other === button));
      const wanted = button.dataset.verdict;
      for (const row of rows) row.hidden = wanted !== "" && row.dataset.verdict !== wanted;
      status.textContent = `${rows.filter((row) => !row.hidden).length} of ${rows.length} claims shown.`;
    });
  }
})();
