// The polite drain: who is told, who is waited for, who stays.
import test from 'node:test';
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect as connectHttp2 } from 'node:http2';
import { Client } from './client.mjs';
import { Worker, app } from './primary.mjs';

// Longer than any test: what ends before, did not end because it was over.
const FOR_EVER = 3_600_000;
// Over at the next look.
const OVER_SOON = 200;

async function serving(context, options) {
  const worker = new Worker(app('server.cjs'), options);
  context.after(() => worker.end());
  await worker.listening();
  const clients = [];
  context.after(() => clients.forEach((client) => client.close()));
  const connect = (how) => {
    const client = new Client(worker.port, how);
    clients.push(client);
    return client;
  };
  return { worker, connect };
}

test('an idle connection is answered once more, and that answer is its last', async (context) => {
  const { worker, connect } = await serving(context);
  const client = connect();
  assert.match(await client.get('/'), /Connection: keep-alive/i);
  const before = worker.words('statistics').length;
  worker.drain(FOR_EVER);
  await worker.until('statistics of the drain', () => worker.words('statistics').length > before);
  assert.equal(worker.words('drained').length, 0, 'it waits for the idle connection');
  assert.match(await client.get('/headers'), /Connection: close\r\n[^]*\{\} end/i);
  await client.until(() => client.ended);
  await worker.word('drained');
  worker.disconnect();
  assert.deepEqual(await worker.exit(), { code: 0, signal: null });
});

test('with nothing idle it is over at once', async (context) => {
  const { worker } = await serving(context);
  worker.drain(FOR_EVER);
  await worker.word('drained');
});

test('an answer that had not begun is its connection\'s last', async (context) => {
  const { worker, connect } = await serving(context);
  const client = connect();
  client.send('/hold');
  await worker.statistics(({ busy }) => busy === 1);
  worker.drain(FOR_EVER);
  await worker.word('drained');
  worker.child.send('release');
  assert.match(await client.answer(), /Connection: close[^]*held end/i);
  await client.until(() => client.ended);
});

test('a request in progress survives the grace and the closing of its server', async (context) => {
  const { worker, connect } = await serving(context);
  const [held, stream] = [connect(), connect()];
  held.send('/hold');
  stream.send('/stream');
  await worker.statistics(({ busy, streaming }) => busy === 1 && streaming === 1);
  worker.drain(OVER_SOON);
  await worker.word('drained');
  worker.disconnect();
  await worker.until('close', () => worker.internal.find(({ act }) => act === 'close'));
  worker.child.send('release');
  assert.match(await held.answer(), /held end/);
  assert.match(await stream.answer(), /stream end/);
});

test('at the end of the grace idle and mute connections are closed', async (context) => {
  const { worker, connect } = await serving(context);
  const [kept, mute] = [connect(), connect()];
  await kept.get('/');
  await worker.statistics(({ idle }) => idle === 2);
  worker.drain(OVER_SOON);
  await worker.word('drained');
  worker.disconnect();
  await Promise.all([kept, mute].map((client) => client.until(() => client.ended)));
  assert.deepEqual(await worker.exit(), { code: 0, signal: null });
});

test('half a request is no idle connection', async (context) => {
  const { worker, connect } = await serving(context);
  const client = connect();
  client.socket.write('GET / HTTP/1.1\r\nHost: localhost\r\n');
  await worker.statistics(({ busy }) => busy === 1);
  worker.drain(OVER_SOON);
  await worker.word('drained');
  worker.disconnect();
  await worker.until('close', () => worker.internal.find(({ act }) => act === 'close'));
  client.socket.write('\r\n');
  assert.match(await client.answer(), /Connection: close[^]*plain end/i);
});

test('an upgraded connection is not waited for, and lives on', async (context) => {
  const { worker, connect } = await serving(context);
  const client = connect();
  client.send('/', { headers: { Connection: 'Upgrade', Upgrade: 'echo' } });
  await client.answer();
  worker.drain(FOR_EVER);
  await worker.word('drained');
  const { upgraded, idle } = worker.words('statistics').at(-1);
  assert.deepEqual({ upgraded, idle }, { upgraded: 1, idle: 0 });
  worker.disconnect();
  client.text = '';
  client.socket.write('still here');
  await client.until(() => client.text === 'still here');
});

test('a program that insists on keeping a connection has its way until the grace is over', async (context) => {
  const { worker, connect } = await serving(context);
  const client = connect();
  await client.get('/');
  worker.drain(2_000);
  await worker.until('statistics', () => worker.words('statistics').length > 0);
  assert.match(await client.get('/keep'), /Connection: keep-alive/i);
  await worker.word('drained');
  await client.until(() => client.ended);
});

test('it is the same over TLS', async (context) => {
  const key = '0123456789abcdef0123456789abcdef';
  const { worker, connect } = await serving(context, { extra: { TLS_KEY: key } });
  const [kept, mute, upgraded] = [1, 2, 3].map(() => connect({ key }));
  assert.match(await kept.get('/'), /Connection: keep-alive/i);
  upgraded.send('/', { headers: { Connection: 'Upgrade', Upgrade: 'echo' } });
  await upgraded.answer();
  await worker.statistics((seen) => seen.idle === 2 && seen.upgraded === 1);
  worker.drain(2_000);
  await worker.until('statistics', () => worker.words('statistics').length > 1);
  assert.match(await kept.get('/'), /Connection: close/i);
  await mute.until(() => mute.ended);
  await worker.word('drained');
  worker.disconnect();
  upgraded.text = '';
  upgraded.socket.write('still here');
  await upgraded.until(() => upgraded.text === 'still here');
});

test('an HTTP/2 session is told to go away, and its streams end well', async (context) => {
  const worker = new Worker(app('http2.cjs'));
  context.after(() => worker.end());
  await worker.listening();
  const session = connectHttp2(`http://127.0.0.1:${worker.port}`);
  context.after(() => session.destroy());
  const goaway = once(session, 'goaway');
  const get = async (path) => {
    let text = '';
    for await (const part of session.request({ ':path': path }).setEncoding('utf8')) {
      text += part;
    }
    return text;
  };
  assert.equal(await get('/'), 'plain end');
  const held = get('/hold');
  // Streams begin in order, so the other has begun when this one is over.
  await get('/');
  worker.drain(FOR_EVER);
  await worker.word('drained');
  await goaway;
  worker.disconnect();
  worker.child.send('release');
  assert.equal(await held, 'held end');
  assert.deepEqual(await worker.exit(), { code: 0, signal: null });
});
