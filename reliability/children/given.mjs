// What a trial gives its program, and how a program answers.

/** What the trial gave. */
export const given = JSON.parse(process.env.RELIABILITY);

/** Prints what was found: a value, as a line of JSON. */
export function tell(found) {
  process.stdout.write(`${JSON.stringify(found)}\n`);
}
