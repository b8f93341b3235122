import { expect, test } from "vitest";
import { programOf } from "../scripts/guide-programs.mjs";

const page = `# A page
\`\`\`sh
npx resnet-native dataset pictures/   # looks
npm install
npx resnet-native train pictures/ \\
  --epochs 3
\`\`\`
\`\`\`ts
const one = 1;
\`\`\`
\`\`\`js
const none = 0;
\`\`\`
\`\`\`ts no-run
import { two } from "two";
two(one); // and more
\`\`\`
\`\`\`text
$ npx resnet-native bench
said
\`\`\`
\`\`\`sh no-run
npx resnet-native doctor
\`\`\`
\`\`\`sh
npx resnet-native summary resnet18
\`\`\`
`;

test("a page is one program, each line where it stands, and what is not run is in a function", () => {
  const lines = programOf(page).program.split("\n");
  const at = (line: string) => page.split("\n").indexOf(line);
  expect(lines).toHaveLength(page.split("\n").length);
  expect(lines.flatMap((line: string, i: number) => (line === "" ? [] : [[i, line]]))).toEqual([
    [at("const one = 1;"), "const one = 1;"],
    [at("```ts no-run"), 'import { two } from "two"; void async function () {'],
    [at("two(one); // and more"), "two(one); // and more"],
    [at("two(one); // and more") + 1, "};"],
  ]);
});

test("commands are run before the program or after it, or only looked at", () => {
  const { commands, isEmpty } = programOf(page);
  expect(isEmpty).toBe(false);
  expect(commands).toEqual({
    before: [["dataset", "pictures/"], ["train", "pictures/", "--epochs", "3"]],
    after: [["summary", "resnet18"]],
    unrun: [["bench"], ["doctor"]],
  });
  expect(programOf("# No program\n")).toMatchObject({ isEmpty: true, commands: { before: [], after: [], unrun: [] } });
});
