/** What a message adds about a word that is not known, if one that is known is near. */
export function didYouMean(word: string, known: readonly string[]): string {
  for (const edits of [0, 1, 2]) {
    const near = known.find((other) => isWithin(edits, word.toLowerCase(), other.toLowerCase()));
    if (near !== undefined) return ` (did you mean ${near}?)`;
  }
  return "";
}

/** Whether so many letters put in, taken out or changed are enough to make one word of the other. */
function isWithin(edits: number, a: string, b: string): boolean {
  let same = 0;
  while (same < a.length && a[same] === b[same]) same++;
  const [restA, restB] = [a.slice(same), b.slice(same)];
  if (restA.length + restB.length === 0) return true;
  const edited = () =>
    isWithin(edits - 1, restA.slice(1), restB) ||
    isWithin(edits - 1, restA, restB.slice(1)) ||
    isWithin(edits - 1, restA.slice(1), restB.slice(1));
  return edits > 0 && edited();
}
