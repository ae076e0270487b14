// What is said: hello, pongs, figures; and what is not.
import test from 'node:test';
import assert from 'node:assert/strict';
import { Client } from './client.mjs';
import { Worker, app } from './primary.mjs';

async function serving(context, name = 'server.cjs') {
  const worker = new Worker(app(name));
  context.after(() => worker.end());
  await worker.listening();
  return worker;
}

test('it says hello before the program says anything', async (context) => {
  const worker = await serving(context);
  const [first, second] = worker.internal.filter(({ act }) => act !== 'online');
  assert.deepEqual(first, { cmd: 'NODE_MAITRED', act: 'hello', version: 1 });
  assert.equal(second.act, 'queryServer');
});

test('a ping is answered, and the program hears nothing of it', async (context) => {
  const worker = await serving(context);
  worker.ping(Number.MAX_SAFE_INTEGER);
  const pong = await worker.word('pong');
  assert.deepEqual(pong, { cmd: 'NODE_MAITRED', act: 'pong', nonce: Number.MAX_SAFE_INTEGER });
  assert.deepEqual(worker.messages, []);
});

test('a busy event loop answers late, and its delay is told', async (context) => {
  const worker = await serving(context);
  await worker.word('statistics');
  const busy = 700;
  worker.child.send({ busy });
  const asked = performance.now();
  worker.ping(1);
  await worker.word('pong');
  // Half, since the two processes do not begin to count in the same moment.
  assert.ok(performance.now() - asked >= busy / 2);
  await worker.statistics(({ loopDelayMicros }) => loopDelayMicros >= (busy / 2) * 1000);
});

test('figures follow what happens', async (context) => {
  const worker = await serving(context);
  const [kept, held] = [new Client(worker.port), new Client(worker.port)];
  context.after(() => [kept, held].forEach((client) => client.close()));
  await kept.get('/');
  await kept.get('/');
  held.send('/hold');
  const seen = await worker.statistics(({ busy, requests }) => busy === 1 && requests === 2);
  const { cmd, act, loopDelayMicros, heapBytes, ...counts } = seen;
  const rest = { streaming: 0, upgraded: 0 };
  assert.deepEqual(counts, { open: 2, taken: 2, requests: 2, idle: 1, busy: 1, ...rest });
  assert.ok(Number.isInteger(loopDelayMicros) && loopDelayMicros >= 0);
  assert.ok(Number.isInteger(heapBytes) && heapBytes > 1 << 20);
  kept.close();
  held.close();
  await worker.statistics(({ open, idle, busy, taken }) => taken === 2 && open + idle + busy === 0);
});

test('words that it does not know, and nonsense, are let pass', async (context) => {
  const worker = await serving(context);
  const strange = [{}, { act: 'dance' }, { act: 'drain' }, { act: 'ping' }, { act: 'drain', grace: 'x' }];
  strange.forEach((words) => worker.say({ cmd: 'NODE_MAITRED', ...words }));
  await worker.word('drained');
  worker.ping(2);
  await worker.until('pong', () => worker.words('pong').find(({ nonce }) => nonce === 2));
});

test('a program that leaves the channel goes on serving', async (context) => {
  const worker = await serving(context, 'leaver.cjs');
  const client = new Client(worker.port);
  context.after(() => client.close());
  assert.match(await client.get('/'), /served/);
  worker.drain(1000);
  const gone = worker.until('the disconnect', () => !worker.child.connected);
  worker.child.once('disconnect', () => worker.note(() => {}));
  client.send('/leave');
  await gone;
  assert.match(await client.answer(), /left end/);
  assert.deepEqual(await worker.exit(), { code: 0, signal: null });
  assert.equal(worker.errors, '');
});
