import type { PictureTransform } from "../transform.js";
import { count, html, type Html, name, scrolling } from "./page.js";
import type { Section } from "./section.js";
import { figures, measuredOn } from "./summary.js";

/** What is known of the model, for those who are to use it, and what is not. */
export const card: Section = {
  id: "model-card",
  title: "Model card",
  render(findings) {
    const { network, data } = findings;
    const { train, measured, role, classNames } = data;
    const others = role === "training" ? undefined : measured;
    const head = ["class", ...(train ? ["training"] : []), ...(others ? [role === "given" ? "measured" : "validation"] : [])];
    const counts = html`<table><thead><tr>${head.map((text) => html`<th scope="col">${text}</th>`)}</tr></thead>
<tbody>${classNames.map((one, label) => html`<tr><th scope="row">${name(one)}</th>${[train, others].map((part) => part && html`<td>${count(part.counts[label] ?? 0)}</td>`)}</tr>
`)}</tbody></table>`;
    const facts: [string, Html | string][] = [
      ["Answers", network.labelKind === "multi" ? "for each class, whether an image is of it" : `which of ${count(classNames.length)} classes an image is of`],
      ["Measured", html`${figures(findings).map(([name, value], i) => html`${i > 0 && ", "}${name} ${value}`)}, on ${measuredOn(role, measured.samples)}`],
      ["Probabilities", network.temperature === 1 ? "not calibrated, so that it may be surer than it should be" : `calibrated: logits are divided by ${network.temperature.toFixed(3)}`],
      ["Preprocessing", prepared(network.transform, measured.imageShape)],
      ["Source of the data", data.source ?? "not recorded"],
      ["Licence of the data", "not recorded"],
      ["Licence of the model", "not recorded"],
    ];
    return html`<dl class="facts">${facts.map(([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>
${scrolling("Images of each class", counts, "Images of each class")}`;
  },
};

/** What is done to a picture, in words. */
function prepared(transform: PictureTransform | undefined, [channels, height, width]: readonly number[]): string {
  if (transform === undefined) return `not recorded; it takes images of ${channels} × ${height} × ${width} (channels, height, width)`;
  const fits = { pad: "with borders where the aspect ratio is another", crop: "cut where the aspect ratio is another", stretch: "stretched where the aspect ratio is another" };
  const { size, fit, channels: colours, normalise, background } = transform;
  const borders = fit === "pad" ? `, the background ${background.join(", ")}` : "";
  const normal = normalise ? `minus ${normalise.mean.map(short).join(", ")}, divided by ${normalise.std.map(short).join(", ")}` : "not normalised further";
  return `brought to ${size.join(" × ")} (height × width, ${fits[fit]}${borders}), ${colours === 1 ? "grey" : "red, green and blue"}, values from 0 to 1, ${normal}`;
}

function short(value: number): string {
  return String(Number(value.toPrecision(4)));
}
