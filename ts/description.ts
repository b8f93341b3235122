/**
 * A network, a layer, an optimiser, a data set's source or a transform as plain data, in the one form that the addon reads: `type`
 * tells what it is, and its fields have the names that model files use.
 */
export interface Description {
  readonly type: string;
  readonly [field: string]: unknown;
}

/** The description with copies of these options. */
export function describe(type: string, options: object): Description {
  return { type, ...fields(options) };
}

/** Copies of these options as fields: `outChannels` becomes `out_channels`; what is undefined is left out. */
export function fields(options: object): Record<string, unknown> {
  const given = Object.entries(JSON.parse(JSON.stringify(options)) as object);
  const field = (name: string) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
  return Object.fromEntries(given.map(([name, value]) => [field(name), value]));
}
