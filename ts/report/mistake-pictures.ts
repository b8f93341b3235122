import type { Prediction } from "../classify.js";
import { isMissing, type ShownMistake } from "./findings.js";
import { gallery } from "./gallery.js";
import { count, html, type Html, name, percent } from "./page.js";
import type { Section } from "./section.js";

/** What the model is surest of and wrong about. */
export const mistakes: Section = {
  id: "mistakes",
  title: "Most confident mistakes",
  render({ mistakes: found, network }) {
    if (isMissing(found)) return found;
    const isMulti = network.labelKind === "multi";
    const items = found.map((one) => {
      const beside = one.heat && { picture: one.heat, alt: `Image ${one.index}, red where the evidence is` };
      return { picture: one.picture, alt: `Image ${one.index}, ${told(one, isMulti)}`, caption: caption(one, isMulti), ...(beside && { beside }) };
    });
    const heat = found.some((one) => one.heat) && html` Beside each, in red, is where the evidence for its most probable class is (Grad-CAM; Selvaraju et al., 2017).`;
    return html`<p>The images that the model is surest of and wrong about. Look for labels that are wrong, for classes that overlap, and for kinds of pictures that the training images lack.${heat}</p>
${gallery(items)}`;
  },
};

const listed = (classes: readonly Prediction[]) => classes.map((one) => one.name).join(", ") || "nothing";

function told({ labels, predicted, probability }: ShownMistake, isMulti: boolean): string {
  return isMulti ? `of ${listed(labels)}, taken for ${listed(predicted)}` : `${listed(labels)} taken for ${listed(predicted)}, ${percent(probability)} sure`;
}

function caption({ index, path, labels, predicted, probability }: ShownMistake, isMulti: boolean): Html {
  const all = (classes: readonly Prediction[]) => (classes.length === 0 ? html`nothing` : classes.map((one, i) => html`${i > 0 && ", "}${name(one.name)}`));
  const given = !isMulti && labels[0] !== undefined && html` (${percent(labels[0].probability)})`;
  return html`<span class="took">${all(predicted)} ${percent(probability)}</span><span class="is">is ${all(labels)}${given}</span><span class="where">${path === undefined ? html`image ${count(index)}` : name(shortened(path))}</span>`;
}

/** The end of a path, which tells most. */
function shortened(path: string): string {
  return path.split(/[\\/]/).slice(-2).join("/");
}
