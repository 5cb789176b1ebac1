// A heading sorts its column: first the better values, or the greater where none is better, or the letters from A on.
// Numbers sort as numbers, whatever stands behind them (± sd, a unit), and before text. The constant predictor stays last.
document.querySelectorAll("table.sort").forEach((table) => {
  const value = (row, i) => {
    const text = row.cells[i].textContent.trim().replace("\u2212", "-").replace(/^(\[|> )/, "");
    const number = text === "never" ? Infinity : parseFloat(text); // of what it takes until something turns
    return Number.isNaN(number) ? text : number;
  };
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, i) => {
    const button = document.createElement("button");
    button.append(...head.childNodes);
    head.append(button);
    head.setAttribute("aria-sort", "none"); // rows stand in the order of the matrix
    button.addEventListener("click", () => {
      const rows = [...table.tBodies[0].rows];
      const numbers = rows.some((row) => typeof value(row, i) === "number");
      const first = numbers && head.dataset.better !== "\u2193" ? "descending" : "ascending";
      const other = first === "ascending" ? "descending" : "ascending";
      const order = head.getAttribute("aria-sort") === first ? other : first;
      const sign = order === "ascending" ? 1 : -1;
      heads.forEach((each) => each.setAttribute("aria-sort", "none"));
      head.setAttribute("aria-sort", order);
      const compare = (a, b) => {
        const [last, then] = [a, b].map((row) => row.classList.contains("last"));
        if (last !== then) return last ? 1 : -1;
        const [x, y] = [value(a, i), value(b, i)];
        if (typeof x !== typeof y) return typeof x === "number" ? -1 : 1;
        return sign * (typeof x === "number" ? x - y : x.localeCompare(y));
      };
      rows.sort(compare).forEach((row) => table.tBodies[0].append(row));
    });
  });
});
