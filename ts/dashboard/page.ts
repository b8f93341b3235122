import type { Evaluation } from "../evaluate.js";
import type { LabelKind } from "../labels.js";
import { confusion } from "../report/confusion.js";
import { type Findings, isMissing, type Missing, type Samples } from "../report/findings.js";
import { gallery } from "../report/gallery.js";
import { count, counted, document, type Html, html, name, scrolling } from "../report/page.js";
import type { Facts } from "./watched-run.js";
import { SCRIPT } from "./script.js";
import { STYLE } from "./style.js";

/** The page as it is before its script has heard of the run. */
export function dashboardPage(facts: Facts, hasConfusion: boolean): string {
  const { title, network, parameters, train, validation, epochs, batchSize, generator } = facts;
  const about = [
    [network, parameters !== undefined && counted(parameters, "parameter")].filter(Boolean).join(", "),
    `${counted(train, "training image")}, ${validation === undefined ? "none" : count(validation)} for validation`,
    `${counted(epochs, "epoch")}, batches of ${count(batchSize)}`,
  ].filter((text) => text !== "");
  const figures: [id: string, name: string][] = [["speed", "images/s"], ["waiting", "waiting for data"], ["left", "left, about"], ["lr-now", "learning rate"], ["memory", "memory"]];
  const head = ["epoch", "training loss", "training accuracy", "validation loss", "validation accuracy", "learning rate", "time"];
  const body = html`<a class="skip" href="#main">Skip to the training</a>
<header><p class="kicker">Live training</p><h1>${name(title)}</h1><p class="about">${about.join(" · ")}</p></header>
<main id="main" tabindex="-1">
<section aria-label="State">
<div class="state"><p id="status" role="status">Connecting</p><div class="buttons"><button type="button" id="pause" disabled>Pause</button><button type="button" id="stop" disabled>Stop…</button></div></div>
<p id="connection" role="status"></p>
<progress id="progress" max="1" value="0" aria-label="Share of the training that is done"></progress>
<p class="where"><span id="where">–</span><span id="batch"></span></p>
<dl class="headline">${figures.map(([id, name]) => html`<div><dt>${name}</dt><dd id="${id}">–</dd></div>`)}</dl>
</section>
<section id="curves" aria-labelledby="curves-title">
<h2 id="curves-title">Curves</h2>
<div class="charts">
${figure("loss", "Loss (nats)", html`Pale: steps, each before its update. Points: means of epochs, and the validation images.`, html`<label class="option"><input type="checkbox" id="logarithmic"> logarithmic</label>`)}
${figure("accuracy", "Accuracy (0 to 1)", html`Likewise. The axis has the range of the values.`)}
${figure("lr", "Learning rate", html`Of the steps, before the factors of parameter groups.`)}
${figure("rate", "Images a second", html`Mean since each epoch began.`)}
</div>
<details><summary>The numbers</summary>${scrolling("Numbers of the epochs", html`<table class="numbers"><caption id="numbers-caption">No epoch has ended yet.</caption><thead><tr>${head.map((text) => html`<th scope="col">${text}</th>`)}</tr></thead><tbody id="numbers"></tbody></table>`)}</details>
</section>
<section id="confusion" aria-labelledby="confusion-title">
<h2 id="confusion-title">Confusion</h2>
${hasConfusion ? html`<p>To tell which classes are taken for which, the validation images are gone through a second time, and training waits: only if that is asked for, and while a page is open.</p>
<p class="asked"><label class="option"><input type="checkbox" id="confuse" disabled> with each evaluation</label><span id="confuse-cost"></span></p>
<div id="matrix"></div>` : html`<p>There is no whole validation set, on which it could be measured.</p>`}
</section>
<section id="samples" aria-labelledby="samples-title">
<h2 id="samples-title">Training images</h2>
<div id="sheet"><p>Loading</p></div>
</section>
</main>
<footer><p>Written by ${generator}, for as long as the training lasts; it asks nobody else for anything. Closing this page changes nothing.</p></footer>
<dialog id="really" aria-labelledby="really-title"><h2 id="really-title">Stop the training?</h2><p>It ends after the step at hand, as Ctrl-C ends it, and cannot be taken up from here.</p><div class="buttons"><button type="button" id="go-on" autofocus>Go on</button><button type="button" id="stop-now">Stop</button></div></dialog>`;
  return document(title, generator, { style: STYLE, script: SCRIPT }, body);
}

function figure(id: string, title: string, caption: Html, option?: Html): Html {
  return html`<figure class="chart" id="chart-${id}"><h3>${title}</h3><ul class="legend"></ul><svg role="img" aria-label="Nothing yet" height="260"></svg><figcaption>${caption}${option}</figcaption></figure>
`;
}

/** A confusion matrix, as a report has it. */
export async function confusionMarkup(evaluation: Evaluation, labelKind: LabelKind, { epoch, step }: { readonly epoch: number; readonly step: number }): Promise<string> {
  const content = await confusion.render({ evaluation, network: { labelKind } } as unknown as Findings);
  const samples = evaluation.classes?.reduce((sum, { support }) => sum + support, 0) ?? 0;
  const shown = isMissing(content) ? html`<p>${content.missing}</p>` : content;
  return html`<p>Of epoch ${epoch}, after step ${count(step)}: ${counted(samples, "label")}, accuracy <data value="${evaluation.accuracy}">${evaluation.accuracy.toFixed(4)}</data>.</p>${shown}`.text;
}

/** Images of an epoch, or why there are none. */
export function samplesMarkup(found: Samples | Missing, epoch: number): string {
  if (isMissing(found)) return html`<p>${found.missing}</p>`.text;
  const { samples, by } = found;
  const kind = by.length > 0 ? "augmented" : "unchanged";
  const how =
    by.length > 0
      ? html`<strong>augmented</strong>, changed at random by ${by.map((one, i) => html`${i > 0 && ", "}<code>${one}</code>`)}`
      : html`<strong>unchanged</strong>, since the option <code>augment</code> was not given`;
  const items = samples.map(({ picture, told }) => ({ picture, alt: `Training image of ${told}, ${kind}`, caption: html`<span class="is">${name(told)}</span><span class="where">${kind}</span>` }));
  return html`<p>Training images as in epoch ${epoch}: ${how}. Validation images are never changed.</p>${gallery(items)}`.text;
}
