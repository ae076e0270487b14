// Answers with what a program can see of how it was started.
const { createServer } = require('node:http');
const cluster = require('node:cluster');

const seen = {
  main: require.main === module,
  filename: __filename,
  argv: process.argv,
  execArgv: process.execArgv,
  isWorker: cluster.isWorker,
  id: cluster.worker?.id,
  cwd: process.cwd(),
  instance: process.env.NODE_APP_INSTANCE,
  seat: process.env.SEAT ?? null,
  options: process.env.NODE_OPTIONS ?? null,
  greeting: process.env.GREETING,
  uid: process.getuid(),
  gid: process.getgid(),
  messageListeners: process.listenerCount('message'),
  disconnectListeners: process.listenerCount('disconnect'),
  ours: Object.keys(process.env).filter((name) => /^(NODE_CHANNEL|NODE_UNIQUE)/.test(name)),
  stack: new Error('here').stack.split('\n')[1].trim(),
};
createServer((request, response) => response.end(JSON.stringify(seen))).listen(
  Number(process.env.PORT),
  '127.0.0.1',
);
