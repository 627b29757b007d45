import { describe, test } from 'vitest';
import { memoryStorage } from '../../src/storage/memory.js';
import { storageSuite } from '../../src/testing/index.js';

const noServer = 'The records live in this process: there is no server that could fail.';

storageSuite({
  name: 'memory',
  runner: { describe, test },
  runs: 200,
  open: async (options) => {
    const storage = memoryStorage(options);
    return { storage, dispose: () => storage.close() };
  },
  skip: [
    ...[
      'a record of a wrong type in the second batch of three',
      'a guard of a wrong type in the second batch of three',
      'a counter of a wrong type in the second batch of three',
    ].map((title) => ({ law: 'S1' as const, case: title, reason: 'A map holds nothing but records.' })),
    {
      law: 'S4',
      case: 'the time is read, and notAfter judged, when the call gets its turn',
      reason: noServer,
    },
    {
      law: 'S8',
      case: 'every call ends by its deadline while the store does not answer, and is safe to repeat',
      reason: noServer,
    },
    { law: 'S8', case: 'close ends while the store does not answer', reason: noServer },
    { law: 'S8', case: 'a server that forgets its scripts is taught again', reason: noServer },
    {
      law: 'S8',
      case: 'calls on a closed storage fail, and closing twice does not',
      reason: 'Contexts of one test share the storage; it holds nothing that closing would give back.',
    },
  ],
});
