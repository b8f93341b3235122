import { isMissing, type Findings, type Role } from "./findings.js";
import { count, counted, duration, html, type Html, percent } from "./page.js";
import type { Section } from "./section.js";

/** What was measured on, in words. */
export function measuredOn(role: Role, samples: number): string {
  const kind = { validation: "validation image", training: "training image", given: "image" }[role];
  return counted(samples, kind);
}

/** What was trained, on what, and what came of it. */
export const summary: Section = {
  id: "summary",
  title: "Summary",
  render({ network, data, evaluation, rows, best, stoppedEarly, written, trainingSeed }) {
    const { measured, train, role, classNames, source } = data;
    const isMulti = network.labelKind === "multi";
    const headline: [string, string][] = [
      [isMulti ? "of decisions right" : "accuracy", percent(evaluation.accuracy, 2)],
      ...(isMulti ? ([["of images all right", percent(evaluation.exactMatch ?? NaN, 2)]] as [string, string][]) : []),
      ["loss", evaluation.loss.toFixed(4)],
      ...(evaluation.macroF1 === undefined ? [] : ([["macro F1", evaluation.macroF1.toFixed(4)]] as [string, string][])),
      ["parameters", count(network.parameters)],
    ];
    const images = measured.imageShape.length === 3 ? `${measured.imageShape.slice(1).join(" × ")} (height × width), ${counted(measured.imageShape[0]!, "channel")}` : "";
    const facts: [string, Html | string][] = [
      ["Network", [network.name, counted(network.parameters, "parameter"), counted(network.layers.length, "layer")].filter(Boolean).join(", ")],
      ["Data", [source, train && counted(train.samples, "training image"), role !== "training" && measuredOn(role, measured.samples)].filter(Boolean).join(", ")],
      ["Images", images],
      ["Classes", counted(classNames.length, "class", "classes") + (isMulti ? ", any number for each image" : "")],
    ];
    if (!(isMissing(rows))) {
      const seconds = rows.reduce((sum, row) => sum + row.seconds, 0);
      const waited = rows.reduce((sum, { waiting, seconds }) => sum + (waiting ?? NaN) * seconds, 0);
      facts.push(["Training", `${counted(rows.length, "epoch")} in ${duration(seconds)}${stoppedEarly ? ", ended early because nothing got better" : ""}`]);
      if (best) facts.push(["Best epoch", `${best.epoch}, by ${words(best.monitor)} ${best.value.toFixed(4)}`]);
      if (Number.isFinite(waited / seconds)) facts.push(["Waiting for data", `${percent(waited / seconds)} of that time`]);
    }
    const { split } = data;
    const seeds = [`first weights ${network.seed}`, trainingSeed !== undefined && `training ${trainingSeed}`, split && `split ${split.seed} (${percent(split.fraction)} for validation${split.stratified ? ", of each class" : ""})`];
    facts.push(["Seeds", seeds.filter(Boolean).join(", ")]);
    facts.push(["Report written", html`<time datetime="${written.toISOString()}">${written.toISOString().slice(0, 16).replace("T", " ")} UTC</time>`]);
    return html`<dl class="headline">${headline.map(([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>
<p>Measured on ${measuredOn(role, measured.samples)}. ${note(role)}</p>
<dl class="facts">${facts.map(([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>`;
  },
};

/** What is to be kept in mind of the figures. */
function note(role: Role): string {
  return {
    validation: "Where they also chose the epoch or the settings, the figures flatter the model a little; a set that no choice has seen does not.",
    training: "There is no validation set: these are the images that the model learnt from, and the figures flatter it.",
    given: "",
  }[role];
}

function words(monitor: string): string {
  return monitor.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
}

/** The figures that a report is about, for other sections. */
export function figures({ evaluation, network }: Findings): [string, string][] {
  const { loss, accuracy, macroF1, microF1, exactMatch } = evaluation;
  const shown: [string, number | undefined][] = [
    [network.labelKind === "multi" ? "share of decisions that are right" : "accuracy", accuracy],
    ["loss (nats)", loss],
    ["macro F1", macroF1],
    ["micro F1", microF1],
    ["share of images that are all right", exactMatch],
  ];
  return shown.flatMap(([name, value]) => (value === undefined ? [] : [[name, value.toFixed(4)] as [string, string]]));
}
