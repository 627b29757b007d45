/** What the Lua scripts have in common. */
import { createHash } from 'node:crypto';

/** A script and the name by which the server caches it. */
export interface Script {
  readonly text: string;
  readonly sha: string;
}

/** A script of such a text. */
export function script(text: string): Script {
  return { text, sha: createHash('sha1').update(text).digest('hex') };
}

/** Sets `now`. */
export const NOW: string = `local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
`;

/** The reply of a server that can't unpack arguments; nothing was done then. */
export const CANNOT_UNPACK = 'cannot unpack';

/** Sets `A`. Arguments come as they are, or packed into one. */
export const ARGUMENTS: string = `local A = ARGV
if #A == 1 then
  if not cmsgpack then return '${CANNOT_UNPACK}' end
  A = cmsgpack.unpack(A[1])
end
`;

/** ioredis-mock knows only lists that a constructor made; Redis (which has `bit`) unpacks fewer than 8,000 values. */
export const RETURN_OUT: string = `if bit then return out end
return { unpack(out, 1, o) }`;
