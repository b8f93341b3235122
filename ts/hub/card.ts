import type { Written } from "./config.js";

/** By which a card is known that was written here, and so may be replaced. */
export const MARK = "<!-- Written by resnet-native. Take this line away, and the file stays as you have it. -->";

/** Named apart: the house rules would take a line with it for an import. */
const PACKAGE = '"resnet-native"';

/** Classes that are named one by one. */
const MOST_NAMED = 100;

/** The model card: what is known, and what is not. */
export function cardOf(title: string, written: Written, license: string | undefined, made: string): string {
  const { architecture, classes, inChannels, parameters, interface: told } = written;
  const { transform, classNames, labelKind, temperature } = told;
  const tags = ["image-classification", ...(architecture ? ["timm"] : []), "resnet-native"];
  const front = [
    "---",
    `library_name: ${architecture ? "timm" : "resnet-native"}`,
    "pipeline_tag: image-classification",
    "tags:",
    ...tags.map((tag) => `- ${tag}`),
    ...(license === undefined ? [] : [`license: ${license}`]),
    "---",
    MARK,
  ];
  const facts: [string, string][] = [
    ["Network", architecture ? `\`${architecture.name}\`, as timm has it` : "one that timm has not; the header of `model.safetensors` describes it"],
    ["Parameters", parameters.toLocaleString("en")],
    ["Input", transform ? `${inChannels} channels, ${transform.size[0]}x${transform.size[1]}` : `${inChannels} channels; how pictures are prepared is not recorded`],
    ...(transform ? ([["Pictures", prepared(transform)]] as [string, string][]) : []),
    ["Outputs", outputs(classes, labelKind, temperature)],
    ["Licence", license ?? "not recorded"],
    ["Training data, results, intended use", "not recorded"],
  ];
  const names = classNames && [
    "\n## Classes\n",
    classNames.slice(0, MOST_NAMED).map((name, i) => `${i}. ${plain(name)}`).join("\n"),
    ...(classNames.length > MOST_NAMED ? [`\nand ${classNames.length - MOST_NAMED} more, in \`config.json\``] : []),
  ];
  const python = architecture && [
    "\nWith timm:\n",
    "```python",
    "import timm",
    'model = timm.create_model("local-dir:FOLDER", pretrained=True).eval()  # FOLDER is where this file is',
    "```",
    ...differences(told).map((line) => `\n${line}`),
  ];
  const typescript = ["\nIn Node:\n", "```ts", `import { loadModel } from ${PACKAGE};`, 'const model = await loadModel("FOLDER");', ...(transform ? ['const classes = await model.classify("photo.jpg");'] : []), "```"];
  return [
    ...front,
    `# ${plain(title)}\n`,
    ...facts.map(([name, text]) => `- **${name}**: ${text}`),
    ...(names || []),
    "\n## Use",
    ...(python || []),
    ...typescript,
    `\nWritten by ${made}.`,
    "",
  ].join("\n");
}

function prepared({ fit, channels, background, normalise }: NonNullable<Written["interface"]["transform"]>): string {
  const fits = { pad: `shown whole, with borders of rgb(${background.join(", ")})`, crop: "cropped to the middle", stretch: "stretched" };
  const colours = channels === 1 ? "grey" : "red, green and blue";
  const numbers = normalise ? `less [${normalise.mean.join(", ")}], divided by [${normalise.std.join(", ")}]` : "from 0 to 1";
  return `resized bilinearly, ${fits[fit]}; ${colours}, ${numbers}`;
}

function outputs(classes: number | undefined, labelKind: string | undefined, temperature: number): string {
  const what = classes === undefined ? "as the network has them" : `${classes} logits`;
  const kind = { single: "; a picture is of one class (softmax)", multi: "; a picture is of any number of classes (sigmoid)" }[labelKind ?? ""] ?? "";
  return `${what}${kind}${temperature === 1 ? "" : `; divided by ${temperature} they are calibrated`}`;
}

/** What timm would do otherwise. */
function differences({ transform, labelKind, temperature }: Written["interface"]): string[] {
  return [
    ...(transform ? [] : ["How pictures are prepared is not recorded: timm's defaults are a guess."]),
    ...(transform?.fit === "crop" ? ["Of pictures that are not square timm resizes all and cuts at whole pixels, so that what it sees may be shifted by up to a pixel."] : []),
    ...(transform?.fit === "pad" ? ["timm's borders have the colour of the mean."] : []),
    ...(labelKind === "multi" ? ["Probabilities are sigmoids of the logits, not softmax."] : []),
    ...(temperature === 1 ? [] : [`Logits are divided by ${temperature} before they become probabilities, which timm does not do by itself.`]),
  ];
}

/** Text that Markdown and HTML take for text, on one line. */
function plain(text: string): string {
  // oxlint-disable-next-line no-control-regex
  return text.replaceAll(/[\u0000-\u001f\u007f\u2028\u2029]+/g, " ").replaceAll(/[\\`*_{}[\]()#+!|<>&~:@]/g, (sign) => `&#${sign.codePointAt(0)};`);
}
