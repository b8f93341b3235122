import { describe, type Description } from "./description.js";
import type { Rule } from "./options.js";

/** How the learning rate changes in the course of a run. Made by {@link cosine}, {@link oneCycle}, {@link warmup} and others. */
export interface Schedule {
  /** Which one it is, such as `"cosine"`. */
  readonly name: string;
}

/** The schedules that were made here, as the addon reads them. */
const made = new WeakMap<Schedule, Description>();

/** The schedule of these settings, which have been checked. */
export function makeSchedule<T extends Schedule>(settings: T): T {
  const { name, followedBy, ...rest } = settings as T & { followedBy?: Schedule };
  const type = name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
  made.set(settings, describe(type, { ...rest, followedBy: describeSchedule(followedBy) }));
  return Object.freeze(settings);
}

/** The rule for an option that is a schedule. */
export const scheduleRule: Rule<Schedule> = {
  expected: "a schedule such as cosine()",
  accepts: (value) => made.has(value as Schedule),
};

/** A schedule as the addon reads it. */
export function describeSchedule(schedule: Schedule | undefined): Description | undefined {
  return schedule === undefined ? undefined : made.get(schedule);
}
