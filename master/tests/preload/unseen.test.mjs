// A program cannot tell whether the preload is there: each runs with and without, and all that
// it sees of itself, says and ends with is the same.
import test from 'node:test';
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { Worker, app, environment } from './primary.mjs';

async function run(script, how) {
  const worker = new Worker(script, how);
  const exit = await worker.exit();
  const hellos = worker.words('hello').length;
  return { hellos, seen: { ...exit, output: worker.output, errors: worker.errors } };
}

async function same(script, how) {
  const [bare, preloaded] = await Promise.all([
    run(script, { ...how, preload: false }),
    run(script, { ...how, preload: true }),
  ]);
  const readable = ({ seen }) => ({ ...seen, output: seen.output.trim().split('\n') });
  assert.deepEqual(readable(preloaded), readable(bare));
  assert.deepEqual([bare.hellos, preloaded.hellos], [0, 1]);
  return preloaded.seen;
}

for (const manner of ['leave', 'code', 'throws', 'rejects', 'timer']) {
  test(`a program that ends so: ${manner}`, async () => {
    const { output } = await same(app('self.cjs'), { args: [manner] });
    assert.equal(output.trim().split('\n').length, 3, 'worker, thread and grandchild');
  });
}

test('options of the user are there again, to the letter', async () => {
  const cases = ['', ' ', '--max-http-header-size=9000', `--require "${app('users.cjs')}"  --no-warnings`];
  for (const options of cases) {
    await same(app('self.cjs'), { args: ['leave'], options });
  }
});

test('arguments for Node and for the program', async () => {
  const how = { args: ['leave', '--flag', 'a b'], execArgv: ['--no-warnings', '--stack-trace-limit=20'] };
  await same(app('self.cjs'), how);
});

test('a module of the newer kind', async () => {
  await same(app('module.mjs'), {});
});

// What docs/node-preload.md names as visible, and nothing beside it.
test('what cannot be hidden is known', async () => {
  const [bare, preloaded] = await Promise.all(
    [false, true].map(async (preload) => JSON.parse((await run(app('known.cjs'), { preload })).seen.output)),
  );
  assert.deepEqual(bare.subscribed, []);
  assert.deepEqual(preloaded.subscribed, ['net.server.socket', 'http.server.response.finish']);
  assert.equal(preloaded.internal, bare.internal + 1);
  assert.ok(preloaded.asyncId > bare.asyncId, `${preloaded.asyncId} > ${bare.asyncId}`);
});

test('a program of tests', () => {
  const env = environment({ preload: true });
  const { status, stdout } = spawnSync(process.execPath, ['--test', app('tested.test.mjs')], { env });
  assert.equal(status, 0, String(stdout));
});

test('without a channel it only takes itself out of the environment', () => {
  const look = '[process.env.NODE_OPTIONS, process.env.MAITRED_NODE_OPTIONS]';
  const run = spawnSync(process.execPath, ['-p', look], { env: environment({ preload: true }) });
  assert.equal(String(run.stdout), '[ undefined, undefined ]\n');
});

test('a worker that has nothing to do exits when it is told to disconnect', async (context) => {
  const worker = new Worker(app('idle.cjs'));
  context.after(() => worker.end());
  await worker.word('hello');
  worker.disconnect();
  assert.deepEqual(await worker.exit(), { code: 0, signal: null });
});
