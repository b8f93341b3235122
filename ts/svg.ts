/** Attributes of an element. What a caller of the package wrote stands only in texts. */
export type Attributes = Readonly<Record<string, string | number>>;

/** Size of a text in pixels, where nothing else is said. */
export const FONT = 12;

/** An element around what is written already. */
export function element(name: string, attributes: Attributes, ...children: readonly string[]): string {
  const written = Object.entries(attributes).map(([key, value]) => {
    return ` ${key}="${typeof value === "number" ? hundredths(value) : value}"`;
  });
  const tag = name + written.join("");
  return children.length === 0 ? `<${tag}/>` : `<${tag}>${children.join("")}</${name}>`;
}

/** A text as XML may hold it. */
export function escaped(text: string): string {
  const legal = text.replace(/[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/gu, "\ufffd");
  return legal.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

/** A text whose baseline begins at a point. */
export function label(className: string, x: number, y: number, text: string, more: Attributes = {}): string {
  return element("text", { class: className, x, y, fill: "currentColor", ...more }, escaped(text));
}

/** A line along a path. */
export function stroke(className: string, path: string, more: Attributes = {}): string {
  return element("path", { class: className, d: path, fill: "none", stroke: "currentColor", ...more });
}

/** Width of a text in units of its font size; rather too much, as the reader's font is not known. */
export function ems(text: string): number {
  let sum = 0;
  for (const letter of text) {
    if (/[\u1100-\u{10ffff}MWmw@%]/u.test(letter)) sum += 1;
    else sum += /\p{Lu}/u.test(letter) ? 0.75 : 0.58;
  }
  return sum;
}

/** A text on lines of so many ems, two at the most: what is left becomes an ellipsis. */
export function wrapped(text: string, room: number): string[] {
  const lines: string[] = [];
  let [line, used] = ["", 0];
  const put = (letter: string) => {
    const size = ems(letter);
    if (used + size > room) {
      lines.push(line.trimEnd());
      [line, used] = ["", 0];
    }
    [line, used] = [line + letter, used + size];
  };
  for (const word of text.split(/\s+/).filter(Boolean)) {
    if (line !== "" && used + ems(` ${word}`) > room) used = room;
    else if (line !== "") put(" ");
    for (const letter of word) put(letter);
  }
  if (line !== "") lines.push(line);
  return lines.length <= 2 ? lines : [lines[0]!, `${[...lines[1]!].slice(0, -1).join("").trimEnd()}…`];
}

/** A number of pixels, to hundredths of one. */
export function hundredths(value: number): number {
  return Math.round(value * 100) / 100;
}
