// The worker in slot 0 uses up its descriptors when it is asked to at `/eat`, all but a few, and
// gives them back when it gets `/feed`, which it can as long as it takes connections at all; its
// own timer does it after a while otherwise.
const { createServer } = require('node:http');
const fs = require('node:fs');
const cluster = require('node:cluster');

const id = String(cluster.worker.id);
let eaten = [];

function eat() {
  try {
    for (;;) eaten.push(fs.openSync('/dev/null'));
  } catch {
    // At the limit, which is what was wanted.
  }
  setTimeout(() => {
    for (const descriptor of eaten) fs.closeSync(descriptor);
    eaten = [];
    process.send({ fed: cluster.worker.id });
  }, Number(process.env.HUNGER));
}

createServer((request, response) => {
  response.setHeader('x-worker-id', id);
  response.end(id);
  if (request.url === '/eat') setImmediate(eat);
}).listen(Number(process.env.PORT), '127.0.0.1');
