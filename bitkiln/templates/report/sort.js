for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  const key = (row, column) => row.cells[column].dataset.sort || row.cells[column].textContent;
  const compare = (a, b) => (a - b) || a.localeCompare(b);
  heads.forEach((head, column) => head.firstElementChild.addEventListener("click", () => {
    const isNumber = head.classList.contains("number");
    const before = head.ariaSort;
    const direction = before ? (before === "ascending" ? "descending" : "ascending") : isNumber ? "descending" : "ascending";
    const sign = direction === "ascending" ? 1 : -1;
    const rows = [...table.tBodies[0].rows];
    rows.sort((a, b) => sign * compare(key(a, column), key(b, column)));
    for (const other of heads) other.ariaSort = null;
    head.ariaSort = direction;
    table.tBodies[0].append(...rows);
  }));
}
