/** Seconds of each call after the first, which makes the plans; as many calls as fit some seconds, at least one. */
export async function timed(
  seconds: number,
  call: () => Promise<unknown>,
  onCall: (done: number) => void = () => {},
): Promise<number[]> {
  await call();
  const times: number[] = [];
  for (let spent = 0; spent < seconds || times.length === 0;) {
    const began = performance.now();
    await call();
    times.push((performance.now() - began) / 1000);
    spent += times.at(-1)!;
    onCall(Math.min(spent / seconds, 1));
  }
  return times;
}

/** The middle one. */
export function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!;
}
