/**
 * The long lane of the chaos suite: real processes, a real Redis, and the simulation, again and again with another seed.
 * Without arguments one pass. `npm run chaos -- --minutes N --seed S`; REKINDLE_ROUNDS says how long a pass is.
 * Each pass prints its seed, and the first one that fails the command that repeats it.
 */
import { spawn } from 'node:child_process';
import { parseArgs } from 'node:util';

const TESTS = [
  'test/process',
  'test/simulation',
  'test/storage/redis-faults',
  'test/storage/redis-servers',
  'test/storage/conformance',
];
const MOST_SEEDS = 2 ** 31;

function fail(message) {
  console.error(message);
  process.exit(2);
}

function options() {
  const { minutes, seed } = parseArgs({
    options: { minutes: { type: 'string' }, seed: { type: 'string' } },
  }).values;
  if (minutes !== undefined && !(Number(minutes) > 0)) fail('--minutes must be a number above 0.');
  if (
    seed !== undefined &&
    !(Number.isInteger(Number(seed)) && Number(seed) >= 0 && Number(seed) < MOST_SEEDS)
  )
    fail(`--seed must be a whole number below ${MOST_SEEDS}.`);
  return {
    untilMs: minutes === undefined ? 0 : Date.now() + Number(minutes) * 60_000,
    seed: seed === undefined ? Date.now() % MOST_SEEDS : Number(seed),
  };
}

/** Resolves with the exit code. */
function run(command, args, env = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: 'inherit', env: { ...process.env, ...env } });
    child.once('error', reject);
    child.once('exit', (code) => resolve(code ?? 1));
  });
}

const { untilMs, seed: first } = options();
const rounds = process.env.REKINDLE_ROUNDS ?? '25';
if ((await run('npm', ['run', '--silent', 'build', '--', '--silent'])) !== 0) process.exit(1);

for (let pass = 0; pass === 0 || Date.now() < untilMs; pass += 1) {
  const seed = (first + pass) % MOST_SEEDS;
  console.log(`Pass ${pass + 1}: seed ${seed}, ${rounds} rounds`);
  const code = await run('npx', ['vitest', 'run', ...TESTS], {
    REKINDLE_SEED: String(seed),
    REKINDLE_ROUNDS: rounds,
  });
  if (code === 0) continue;
  console.error(`Pass ${pass + 1} failed. Again: REKINDLE_ROUNDS=${rounds} npm run chaos -- --seed ${seed}`);
  process.exit(1);
}
