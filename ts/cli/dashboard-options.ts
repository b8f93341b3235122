import type { FitOptions, FitRun } from "../index.js";
import { flag, type Values, whole } from "./option.js";
import type { Screen } from "./screen.js";

/** Options of a page to look at while a training lasts. */
export const dashboardOptions = {
  dashboard: flag("serves a page to look at the training in a browser of this machine, to pause and to stop it, and tells its address"),
  dashboardPort: whole("that page's port, by default a free one; --dashboard then goes without saying", undefined, 1, 65_535),
};

/** The same as the library takes them; the page's button to stop is as Ctrl-C. */
export function dashboardOf({ dashboard, dashboardPort: port }: Values<typeof dashboardOptions>, title: string, screen: Screen): FitOptions["dashboard"] {
  if (!dashboard && port === undefined) return false;
  return { ...(port !== undefined && { port }), title, onStop: () => screen.interrupt.press("The page's button") };
}

/** Tells a page's address as soon as it can be opened. */
export async function tellAddress(run: FitRun, screen: Screen): Promise<void> {
  const url = await run.dashboard;
  if (url === undefined) return;
  screen.record({ type: "dashboard", url });
  screen.print(`To look at it in a browser of this machine: ${url}\n`);
}
