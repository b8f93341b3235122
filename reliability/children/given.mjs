// What a trial gives its program, and how a program answers.

import { join } from "node:path";

/** What the trial gave. */
export const given = JSON.parse(process.env.RELIABILITY);

/** The numbered folders within one: their paths would be more than a process can be given. */
export function numbered({ within, count }) {
  return Array.from({ length: count }, (_, number) => join(within, String(number)));
}

/** Makes so many experiments, of each kind in turn; each is given what to say a shortfall by. What fell short, a line for each experiment. */
export async function inTurn(kinds, count) {
  const failures = [];
  for (let tried = 0; tried < count; tried++) {
    const kind = Object.keys(kinds)[tried % Object.keys(kinds).length];
    const found = [];
    await kinds[kind]((what) => void found.push(`${kind}: ${what}`));
    if (found.length > 0) failures.push(found.join("; "));
  }
  return failures;
}

/** Prints what was found: a value, as a line of JSON. */
export function tell(found) {
  process.stdout.write(`${JSON.stringify(found)}\n`);
}
