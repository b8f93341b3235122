/**
 * A network, a layer or an optimiser as plain data, in the one form that the addon reads: `type` tells what it is, and its
 * fields have the names that model files use.
 */
export interface Description {
  readonly type: string;
  readonly [field: string]: unknown;
}

/** The description with copies of these options: `outChannels` becomes `out_channels`; what is undefined is left out. */
export function describe(type: string, options: object): Description {
  const given = Object.entries(structuredClone(options)).filter(([, value]) => value !== undefined);
  const field = (name: string) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
  return { type, ...Object.fromEntries(given.map(([name, value]) => [field(name), value])) };
}
