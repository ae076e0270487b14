// Tells all about itself that a program can easily look at, then ends in the manner asked for.
'use strict';
const { fork } = require('node:child_process');
const { Worker, isMainThread, parentPort } = require('node:worker_threads');

const { NODE_V8_COVERAGE, ...env } = process.env;

// Sorted, since the order is that in which the variables were given.
function self() {
  return {
    env: Object.entries(env).sort(),
    argv: process.argv.slice(1),
    execArgv: process.execArgv,
    isMain: require.main === module,
    main: require.main?.filename,
    parent: module.parent ?? null,
    children: module.children.length,
    cache: Object.keys(require.cache),
    listeners: ['message', 'disconnect', 'exit', 'uncaughtException', 'warning'].map((name) => [
      name,
      process.listenerCount(name),
    ]),
    names: process.eventNames().map(String).sort(),
    keys: Object.keys(process).sort(),
    globals: Object.getOwnPropertyNames(globalThis).sort(),
    resources: process.getActiveResourcesInfo?.() ?? [],
    stack: new Error('here').stack,
    title: process.title,
    exitCode: process.exitCode ?? null,
  };
}

function report(where, facts) {
  console.log(JSON.stringify({ where, facts }));
}

function end(manner) {
  const ends = {
    nothing: () => {},
    leave: () => process.disconnect(),
    code: () => process.exit(7),
    exitCode: () => (process.exitCode = 8),
    throws: () => {
      throw new Error('as it must');
    },
    rejects: () => Promise.reject(new Error('as it must')),
    timer: () => setTimeout(() => process.disconnect(), 30),
  };
  ends[manner]();
}

if (!isMainThread) {
  parentPort.postMessage(self());
} else if (process.argv[2] === 'grandchild') {
  process.send(self());
  process.disconnect();
} else {
  report('worker', self());
  const thread = new Worker(__filename);
  thread.on('message', (facts) => report('thread', facts));
  thread.on('exit', () => {
    const grandchild = fork(__filename, ['grandchild'], { execArgv: process.execArgv });
    grandchild.on('message', (facts) => report('grandchild', facts));
    grandchild.on('exit', () => end(process.argv[2]));
  });
}
