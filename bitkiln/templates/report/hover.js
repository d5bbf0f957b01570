{
  const tip = document.getElementById("tip");
  let shown = null;
  const hide = () => {
    if (shown) shown.classList.remove("at");
    shown = null;
    tip.classList.remove("on");
  };
  const show = (mark, text, box) => {
    hide();
    shown = mark;
    mark.classList.add("at");
    tip.textContent = text;
    tip.classList.add("on");
    const edge = 8;
    const { width, height } = tip.getBoundingClientRect();
    const left = Math.min(Math.max(edge, box.left + box.width / 2 - width / 2), innerWidth - width - edge);
    const above = box.top - height - edge;
    tip.style.left = `${left}px`;
    tip.style.top = `${above > edge ? above : box.bottom + edge}px`;
  };

  // The words of a mark are its <title>, which the browser would show a second time.
  const take = (mark) => {
    const title = mark.querySelector(":scope > title");
    const text = title ? title.textContent : mark.getAttribute("title");
    if (title) title.remove();
    mark.removeAttribute("title");
    return text;
  };

  // A chart is one stop of the tabulator; within it arrows go from mark to mark.
  const listen = (chart, count, mark, text, box) => {
    let at = 0;
    const go = (next) => {
      at = Math.min(Math.max(0, next), count - 1);
      show(mark(at), text(at), box(at));
    };
    chart.setAttribute("tabindex", "0");
    chart.addEventListener("focus", () => { if (chart.matches(":focus-visible")) go(at); });
    chart.addEventListener("blur", hide);
    chart.addEventListener("pointerleave", hide);
    chart.addEventListener("keydown", (event) => {
      const steps = { ArrowRight: at + 1, ArrowDown: at + 1, ArrowLeft: at - 1, ArrowUp: at - 1, Home: 0, End: count - 1 };
      if (event.key === "Escape") hide();
      if (!(event.key in steps)) return;
      event.preventDefault();
      go(steps[event.key]);
    });
    return go;
  };

  for (const chart of document.querySelectorAll("[data-marks]")) {
    const marks = [...chart.querySelectorAll(chart.dataset.marks)].filter((mark) => mark.matches("[title], :has(> title)"));
    const texts = marks.map(take);
    if (!marks.length) continue;
    const go = listen(chart, marks.length, (i) => marks[i], (i) => texts[i], (i) => marks[i].getBoundingClientRect());
    marks.forEach((mark, i) => {
      mark.addEventListener("pointerenter", () => go(i));
      mark.addEventListener("click", () => go(i));
    });
  }

  // A row of a timeline says its spans as cycles:state, states joined by + where their order is not known.
  for (const row of document.querySelectorAll(".timeline g[data-spans]")) {
    take(row);
    const states = row.dataset.states.split("|");
    let cycle = 0;
    const spans = row.dataset.spans.split(" ").map((term) => {
      const counts = term.split("+").map((part) => part.split(":").map(Number));
      const length = counts.reduce((sum, [count]) => sum + count, 0);
      const start = cycle;
      cycle += length;
      return { start, length, counts };
    });
    const area = row.querySelector("rect");
    const text = (i) => {
      const { start, length, counts } = spans[i];
      const said = counts.map(([count, state]) => (counts.length > 1 ? `${states[state]} ${count.toLocaleString("en")}` : states[state]));
      return `${row.dataset.unit}, cycles ${start.toLocaleString("en")} to ${(start + length - 1).toLocaleString("en")}: ${said.join(", ")}`;
    };
    const box = (i) => {
      const { left, top, width, height } = area.getBoundingClientRect();
      return { left: left + (width * spans[i].start) / cycle, top, bottom: top + height, width: (width * spans[i].length) / cycle };
    };
    const go = listen(row, spans.length, () => row, text, box);
    const point = (event) => {
      const { left, width } = area.getBoundingClientRect();
      const at = ((event.clientX - left) / width) * cycle;
      go(spans.findIndex(({ start, length }) => at < start + length));
    };
    row.addEventListener("pointermove", point);
    row.addEventListener("click", point);
  }
}
