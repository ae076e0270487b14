// Leaves by itself, in the ways in which programs do. `/slow` takes long enough for a client to
// come meanwhile; on SIGTERM, and at `/disconnect`, it closes its server and ends; at `/close` it
// closes its server and lives on. With KEPT=1 it has a timer that keeps it for ever, ends at
// SIGINT with code 7, and asks for another server before each slow answer.
const { createServer } = require('node:http');
const cluster = require('node:cluster');

const id = String(cluster.worker?.id ?? 0);

const server = createServer((request, response) => {
  response.setHeader('x-worker-id', id);
  const answer = () => {
    if (process.env.KEPT === '1') createServer().listen(0);
    response.end(id);
  };
  if (request.url === '/slow') return setTimeout(answer, 500);
  response.end(id);
  if (request.url === '/disconnect') cluster.worker.disconnect();
  if (request.url === '/close') server.close();
});
server.listen(Number(process.env.PORT), '127.0.0.1');
if (process.env.KEPT === '1') {
  setInterval(() => {}, 1000);
  process.on('SIGINT', () => process.exit(7));
}
process.on('SIGTERM', () => server.close(() => process.exit(0)));
