// The Node twin of the tests' Rust worker: it does what it is told, by its arguments first and
// then by messages, in the same words, so that one test can be about both.
//
// `test_worker.js tcp:127.0.0.1:0 unix:/tmp/a.sock` asks for one address after the other
// (`places.js` has all that may be wished for), sends the list of the outcomes, and serves HTTP
// on what it got. A message `{"order": "close 127.0.0.1:80", "number": 1}` it obeys, and sends
// `{"answer": …, "number": 1}`. Every other message it sends back.
//
// | order | what it does | its answer |
// |---|---|---|
// | `open WISH` | listens | as for the arguments |
// | `close ADDRESS` | closes that server and its connections | whether it was there |
// | `tell NAME` | | its arguments, its directory, and that variable |
// | `standing` | | how it stands with its master |
// | `disconnect` | leaves its master, and ends when that is done | none |
// | `disconnect and kill` | the same, and then kills itself | none |
// | `kill` | kills itself | none |
// | `exit CODE` | ends at once | none |
// | `spin` | does nothing else from now on | a moment before |
//
// What only a Node worker can do stands in `feats.js`, and is ordered in the same way.
'use strict';
const cluster = require('node:cluster');
const feats = require('./feats.js');
const { close, open } = require('./places.js');

const { worker } = cluster;
const wishes = process.argv.slice(2);

// Left, and connected still: that must not be, and the exit code tells.
worker.on('disconnect', () => {
  if (worker.isConnected()) process.exitCode = 1;
});

// The master may be gone by now, or left, and then so is the test.
function say(message, done = () => {}) {
  if (process.connected) process.send(message, done);
}

const orders = {
  ...feats,
  open,
  close,
  tell: (name) => ({
    args: wishes,
    cwd: process.cwd(),
    variable: process.env[name] ?? null,
  }),
  standing: () => ({
    connected: worker.isConnected(),
    exited_after_disconnect: worker.exitedAfterDisconnect ?? false,
  }),
  disconnect: (object) => {
    if (object === 'and kill') {
      worker.on('disconnect', () => {
        // A worker that outlives its own kill ends with this.
        process.exitCode = 1;
        worker.kill();
      });
    }
    worker.disconnect();
  },
  kill: () => {
    worker.kill();
  },
  exit: (code) => process.exit(Number(code)),
  spin: () => null,
};

async function obey({ order, number }) {
  const [verb] = order.split(' ', 1);
  const answer = await orders[verb](order.slice(verb.length + 1));
  if (answer === undefined) return;
  say({ answer, number }, () => {
    if (verb === 'spin') for (;;);
  });
}

process.on('message', (message) => {
  if (message?.order) obey(message);
  else say({ echo: message });
});

async function main() {
  const outcomes = [];
  for (const wish of wishes) outcomes.push(await open(wish));
  say({ outcomes });
}

main();
