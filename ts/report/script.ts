/**
 * What the page does beyond showing: charts whose epochs can be pointed at or gone through by keys, and columns that sort. It reads what is in
 * the page, and asks for nothing.
 */
export const SCRIPT: string = `
"use strict";
for (const figure of document.querySelectorAll("figure.chart")) {
  const drawings = [...figure.querySelectorAll("svg")].map((svg) => {
    const cursor = svg.appendChild(document.createElementNS(svg.namespaceURI, "path"));
    cursor.setAttribute("class", "cursor");
    return { cursor, places: [...svg.querySelectorAll(".place")] };
  });
  const told = drawings[0].places.map((place) => place.textContent);
  for (const { places } of drawings) for (const place of places) place.replaceChildren();
  const slider = Object.assign(document.createElement("input"), { type: "range", min: 0, max: told.length - 1, value: told.length - 1 });
  const output = document.createElement("output");
  const label = document.createElement("label");
  label.append("Epoch", slider);
  const probe = document.createElement("div");
  probe.className = "probe";
  probe.append(label, output);
  figure.querySelector("figcaption").before(probe);
  const show = (i) => {
    slider.value = i;
    slider.setAttribute("aria-valuetext", told[i]);
    output.textContent = told[i];
    for (const { cursor, places } of drawings) {
      const place = places[i];
      const top = Number(place.getAttribute("y"));
      cursor.setAttribute("d", "M" + place.dataset.x + "," + top + "v" + place.getAttribute("height"));
    }
  };
  show(told.length - 1);
  slider.addEventListener("input", () => show(Number(slider.value)));
  for (const { places } of drawings) {
    places.forEach((place, i) => {
      place.addEventListener("pointerenter", () => show(i));
      place.addEventListener("pointerdown", () => show(i));
    });
  }
}
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.querySelectorAll("thead th")];
  const body = table.tBodies[0];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const sign = head.getAttribute("aria-sort") === "descending" ? 1 : -1;
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
      const value = (row) => Number(row.cells[column].dataset.value);
      body.append(...[...body.rows].sort((a, b) => sign * (value(a) - value(b))));
    });
  });
}
`;
