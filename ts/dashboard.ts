import type { CourseOptions } from "./course.js";
import type { Dataset } from "./data.js";
import type { Controls } from "./dashboard/watched-run.js";
import { generator } from "./environment.js";
import { ResNetError } from "./errors.js";
import { evaluate } from "./evaluate.js";
import type { FitEvent, FitListener } from "./events.js";
import type { Model } from "./models.js";
import { boolean, callback, checkOptions, either, integer, object, type Rule, type Rules, string } from "./options.js";
import { type SampleSettings, shownSamples } from "./shown-samples.js";
import { classNameOf, titleOf } from "./titles.js";

/** Options of {@link FitOptions.dashboard}. */
export interface DashboardOptions {
  /** The port that the page is served on, by default a free one. */
  port?: number;
  /**
   * The address of this machine that it is served on, default `"127.0.0.1"`, which no other machine can reach: by
   * `ssh -L 8080:127.0.0.1:PORT MACHINE` the page is at `http://localhost:8080/` with the same token. Another one, such as `"0.0.0.0"`, shows it to
   * a network, unencrypted, so that whoever reads there can stop the run.
   */
  host?: string;
  /** What stands above it, by default the network and the size of its images. */
  title?: string;
  /**
   * Called by the page's button to stop, to whom it is left then: `() => controller.abort()`, where more than the run is to stop. If the run has
   * not ended when this returns, or what it returns is settled, the buttons can be pressed again; an error ends the run. By default the run is
   * aborted, and rejects with a `DOMException` named `AbortError`.
   */
  onStop?: () => unknown;
}

/** The rule for the option. */
export const dashboardRule = either(boolean, object) as Rule<boolean | DashboardOptions>;
const name: Rule<string> = { expected: "the name or address of a host", accepts: (value) => typeof value === "string" && value !== "" };
const rules: Rules<DashboardOptions> = { port: integer(0, 65_535), host: name, title: string, onStop: callback };

/** What the system says of a place that cannot be listened at, and what helps. */
const REFUSALS: Readonly<Record<string, string>> = {
  EADDRINUSE: "which another program has; without a port a free one is taken",
  EACCES: "which this user may not have; without a port a free one is taken",
  EADDRNOTAVAIL: "which is no address of this machine; without a host it is 127.0.0.1",
  ENOTFOUND: "which is no address of this machine; without a host it is 127.0.0.1",
};

/** What of a run's options its page goes by. */
interface Settings extends SampleSettings, Pick<CourseOptions, "earlyStopping" | "fastDevRun"> {
  readonly epochs?: number;
  readonly batchSize?: number;
}

/** What is trained. */
interface Trained {
  readonly model: Model;
  readonly train?: Dataset;
  readonly validation?: Dataset;
}

/** A run's page. */
export interface Page {
  readonly url: string;
  readonly tell: FitListener;
  paused(paused: boolean): void;
  /** Ends what a page has asked to be computed, since the run is to end. */
  abandon(): void;
  /** Tells the end, by an error or not, and leaves. */
  close(end: { readonly error?: unknown }, isStopped: boolean): void;
}

/** The options, if a page is wanted. */
export function checkDashboard(given: boolean | DashboardOptions = false): DashboardOptions | undefined {
  if (given === false) return undefined;
  return given === true ? {} : checkOptions(given, rules, "dashboard");
}

/** Opens the page of a run that is about to begin. Rejects with `ERR_IO` if nothing can be served there. */
export async function openDashboard(
  { port = 0, host = "127.0.0.1", title }: DashboardOptions,
  { model, train, validation }: Trained,
  settings: Settings,
  controls: Pick<Controls, "pause" | "stop">,
): Promise<Page> {
  const { epochs = 1, batchSize = 128, earlyStopping, fastDevRun = false, overfitBatches } = settings;
  const ended = new AbortController();
  const { signal } = ended;
  const samples = async (epoch: number) => shownSamples(model, train!, settings, epoch, signal);
  const isWhole = validation !== undefined && fastDevRun === false && overfitBatches === undefined;
  const confusion = isWhole ? async () => evaluate(model, validation, { byClass: true, batchSize, signal }) : undefined;
  const facts = {
    title: title ?? titleOf(model, train!),
    network: classNameOf(model),
    parameters: parametersOf(model),
    train: train!.length,
    validation: validation?.length,
    epochs: fastDevRun === false ? epochs : 1,
    batchSize,
    labelKind: train!.labelKind,
    mayEndEarly: earlyStopping !== undefined,
    generator: generator(),
  };
  // Who looks at none does not wait for it to load.
  const { serve } = await import("./dashboard/server.js");
  const server = await serve({ host, port }, facts, { ...controls, samples, confusion }).catch((cause: NodeJS.ErrnoException) => {
    const why = REFUSALS[cause.code ?? ""] ?? `which says ${cause.message}`;
    throw new ResNetError("ERR_IO", `dashboard: expected a place to serve a page, got ${host}, port ${port}, ${why}`, { cause });
  });
  return {
    url: server.url,
    tell: async (event: FitEvent, history) => server.tell(event, history),
    paused: (paused) => server.paused(paused),
    abandon: () => ended.abort(),
    close(end, isStopped) {
      ended.abort();
      if (!("error" in end)) server.close({ status: "finished" });
      else if (isStopped && !(end.error instanceof ResNetError)) server.close({ status: "stopped" });
      else server.close({ status: "failed", message: end.error instanceof Error ? end.error.message : String(end.error) });
    },
  };
}

/** Parameters of a network, once its input channels are known. */
function parametersOf(model: Model): number | undefined {
  try {
    return model.numParameters;
  } catch {
    return undefined;
  }
}
