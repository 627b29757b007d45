// With `--import`: this process believes itself on another machine, so that no death of one before it can be proven.
import os from 'node:os';
import { syncBuiltinESMExports } from 'node:module';

const name = os.hostname();
os.hostname = () => `${name}-2`;
syncBuiltinESMExports();
