import { oneLine } from "./option.js";

/** Exit codes: what a shell or a script sees. */
export const EXIT = { success: 0, failure: 1, misuse: 2 } as const;

/** An end without success whose message, one line with the fix, is all that its reader needs. */
export class Failure extends Error {
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

/** The words of the command line are wrong. */
export class Misuse extends Failure {
  constructor(message: string) {
    super("ERR_USAGE", message);
  }
}

/** What helps, where the library's message does not say it. */
const HINTS: Readonly<Record<string, string>> = {
  ERR_ADDON: "npx resnet-native doctor tells more",
  ERR_CHECKPOINT: "--resume wants the words that the training began with",
  ERR_INTERNAL: "RESNET_NATIVE_DEBUG=1 before the command shows where",
  ERR_MODEL_FILE: "What train, the library's save and saveFolder, or timm's save_for_hf has written can be read",
  ERR_NON_FINITE_LOSS: "Training with a smaller --lr may help",
  ERR_NON_FINITE_WEIGHTS: "Training with a smaller --lr may help",
};

/** Likewise, by what the message says. */
const BY_WORDS: readonly (readonly [RegExp, string])[] = [
  [/^out of memory/, "A smaller --batch-size or --size needs less"],
  [/expected a JPEG, PNG or WebP picture/, "--skip-unreadable leaves such files out"],
  [/^validation pictures of .* expected/, "--skip-unreadable leaves the others out"],
  [/^class .* expected at least one picture/, "--skip-unreadable leaves such classes out"],
];

/** What an error means to the one who typed the command: a line, what helps beyond it, and an exit code. */
export function explained(error: unknown): { code: string; message: string; hint?: string; exit: number } {
  const { code: given, message = String(error) } = (error ?? {}) as { code?: unknown; message?: string };
  // Anything without a code of ours is a defect here.
  const code = error instanceof Failure || (error as Error)?.name === "ResNetError" ? String(given) : "ERR_INTERNAL";
  // The loader's fix is on its last line; a defect may bring a stack trace; elsewhere names may have line breaks.
  const whole = code === "ERR_ADDON" ? message.replaceAll(/\s*\n\s*/g, "; ") : message;
  const line = oneLine(code === "ERR_INTERNAL" ? whole.split("\n", 1)[0]! : whole);
  const hint = BY_WORDS.find(([words]) => words.test(line))?.[1] ?? HINTS[code];
  const exit = code === "ERR_USAGE" || code === "ERR_INVALID_ARGUMENT" ? EXIT.misuse : EXIT.failure;
  return { code, message: line, hint, exit };
}
