import { expect, it } from 'vitest';
import { checkedTaskId } from '../../../src/integrations/queue/jobs.js';
import { trapUnhandledRejections } from '../../runtime/harness.js';

trapUnhandledRejections();

it('an id that is promised is refused, and what it rejects with does not end the process', () => {
  const idOf = (): Promise<string> => Promise.reject(new Error('no id'));
  // @ts-expect-error: an async function by mistake
  const given = (): string => checkedTaskId({}, idOf, 'q', '1');
  expect(given).toThrow(expect.objectContaining({ code: 'INVALID_ID' }));
});
