import { Cluster, Redis } from 'ioredis';
import { expect, test } from 'vitest';
import { startCluster, startSentinel } from './redis-groups.js';
import { startRedis } from './redis-server.js';
import { startProxy } from './tcp-proxy.js';

test('a server keeps its data over kill -9 and restart with an append-only file', async () => {
  const server = await startRedis({ appendonly: 'always' });
  const client = new Redis(server.port);
  client.on('error', () => {});
  await client.set('a', '1');
  const before = server.pid;
  await server.kill9();
  await server.restart();
  expect(server.pid).not.toBe(before);
  expect(await client.get('a')).toBe('1');
  server.pause();
  const late = client.get('a');
  server.resume();
  expect(await late).toBe('1');
  client.disconnect();
  await server.stop();
});

test('the cluster and the sentinel answer', async () => {
  const [cluster, sentinel] = await Promise.all([startCluster(), startSentinel()]);
  const one = new Cluster([...cluster.endpoints]);
  const two = new Redis(sentinel.options);
  expect(await one.set('a', '1')).toBe('OK');
  expect(await two.set('a', '1')).toBe('OK');
  one.disconnect();
  two.disconnect();
  await Promise.all([cluster.stop(), sentinel.stop()]);
});

test('the proxy loses replies, holds requests and falls silent', async () => {
  const server = await startRedis();
  const proxy = await startProxy(server);
  const client = new Redis({ port: proxy.port, retryStrategy: () => 10 });
  client.on('error', () => {});
  expect(await client.incr('n')).toBe(1);
  const dropped = proxy.dropNextReply((bytes) => bytes.includes('incr'));
  expect(await client.incr('n')).toBe(3);
  await dropped;
  const holding = proxy.holdNextRequest((bytes) => bytes.includes('incr'));
  const pending = client.incr('n');
  const held = await holding;
  proxy.resetAll();
  expect(await pending).toBe(4);
  expect(String(await held.deliver())).toBe(':5\r\n');
  proxy.blackHole();
  let settled = false;
  const silent = client.get('n').finally(() => (settled = true));
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(settled).toBe(false);
  proxy.heal();
  expect(await silent).toBe('5');
  client.disconnect();
  await proxy.close();
  await server.stop();
});
