// Sends its answer of every message back, and messages of many sizes of its own accord around
// its connections.
const { createServer } = require('node:http');
const cluster = require('node:cluster');

const id = String(cluster.worker.id);
let count = 0;
process.on('message', (message) => process.send({ echo: message }));
createServer((request, response) => {
  count += 1;
  // From nothing to 800 kB, most of them small.
  const size = count % 500 === 0 ? 800_000 : (count * 7919) % 2000;
  process.send({ count, text: 'x'.repeat(size) });
  response.setHeader('x-worker-id', id);
  response.end(id);
}).listen(Number(process.env.PORT), '127.0.0.1');
