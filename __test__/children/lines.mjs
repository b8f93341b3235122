// Runs the command line for list after list of words, in one process; prints exit code and output of each, as JSON.
const program = new URL("../../dist/cli/main.js", import.meta.url);
// Each comes with listeners of its own.
process.setMaxListeners(0);
for (const stream of [process.stdout, process.stderr]) stream.setMaxListeners(0);

const print = process.stdout.write.bind(process.stdout);
const answers = [];
for (const [place, words] of JSON.parse(process.argv[2]).entries()) {
  const answer = { code: 0, stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"]) process[name].write = (text) => Boolean((answer[name] += text));
  process.argv.splice(2, Infinity, ...words);
  process.exitCode = undefined;
  await import(`${program}?${place}`);
  answer.code = process.exitCode ?? 0;
  answers.push(answer);
}
process.exitCode = 0;
print(JSON.stringify(answers));
