/** The machine and the versions that a run is of. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { cpus, totalmem } from 'node:os';
import { postgresVersion } from './postgres.mjs';
import { node24 } from './processes.mjs';

const of = (name) =>
  JSON.parse(readFileSync(new URL(`node_modules/${name}/package.json`, import.meta.url), 'utf8')).version;

const redis = /v=(\S+)/.exec(execFileSync('redis-server', ['--version']).toString())?.[1];

export const machine = {
  cpu: cpus()[0]?.model,
  cores: cpus().length,
  memoryGiB: Math.round(totalmem() / 2 ** 30),
  platform: `${process.platform} ${process.arch}`,
};

export const software = {
  node: process.version,
  redis,
  postgres: postgresVersion() ?? 'not installed',
  ioredis: of('ioredis'),
  libsql: of('libsql'),
  bullmq: of('bullmq'),
  dbos: of('@dbos-inc/dbos-sdk'),
  openworkflow: of('openworkflow'),
  'node for node:sqlite': node24() === null ? 'not installed' : `v${of('node')}`,
};
