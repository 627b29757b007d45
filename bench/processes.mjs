/** Child processes of the bench: each is ended by its own id, whatever happens to the bench. */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const alive = new Set();
process.once('exit', () => {
  for (const child of alive) child.kill('SIGKILL');
});

/** Node 24 out of the registry, for systems that need `node:sqlite`; null where it was not installed. */
export function node24() {
  const path = fileURLToPath(new URL('node_modules/node/bin/node', import.meta.url));
  return existsSync(path) ? path : null;
}

/** A Node process with a channel. `gone` resolves when it has ended, `kill9` ends it. */
export function startNode(file, args, { execPath = process.execPath, execArgv = [], env = {} } = {}) {
  const path = fileURLToPath(new URL(file, import.meta.url));
  const child = spawn(execPath, [...execArgv, path, ...args], {
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    env: { ...process.env, NODE_NO_WARNINGS: '1', ...env },
  });
  alive.add(child);
  const gone = new Promise((resolve) =>
    child.once('exit', (code, signal) => {
      alive.delete(child);
      resolve({ code, signal });
    }),
  );
  return {
    child,
    gone,
    async kill9() {
      child.kill('SIGKILL');
      await gone;
    },
  };
}

/** Resolves with the next message for which `wanted` holds; rejects when the process ends or takes too long. */
export function messageOf({ child, gone }, wanted, timeoutMs, what) {
  return new Promise((resolve, reject) => {
    const end = (finish, value) => {
      clearTimeout(timer);
      child.off('message', hear);
      finish(value);
    };
    const timer = setTimeout(() => end(reject, new Error(`${what}: nothing in ${timeoutMs} ms.`)), timeoutMs);
    const hear = (message) => {
      if (wanted(message)) end(resolve, message);
    };
    child.on('message', hear);
    void gone.then(({ code, signal }) =>
      end(reject, new Error(`${what}: its process ended with ${code ?? signal}.`)),
    );
  });
}
