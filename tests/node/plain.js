// A plain server that knows nothing of clusters but its own number, which it tells, so that a
// load client can say which worker answered. `/slow` takes 100 ms, `/spin` never comes back,
// `/compute?ms=N` blocks the event loop for that long.
const { createServer } = require('node:http');
const cluster = require('node:cluster');

const id = String(cluster.worker?.id ?? 0);

function block(milliseconds) {
  const end = Date.now() + milliseconds;
  while (Date.now() < end);
}

const server = createServer((request, response) => {
  const url = new URL(request.url, 'http://localhost');
  response.setHeader('x-worker-id', id);
  response.setHeader('x-pid', String(process.pid));
  if (url.pathname === '/slow') return setTimeout(() => response.end(id), 100);
  if (url.pathname === '/spin') for (;;);
  if (url.pathname === '/compute') block(Number(url.searchParams.get('ms')));
  if (url.pathname === '/crash') process.exit(3);
  return response.end(id);
});
server.listen(Number(process.env.PORT), '127.0.0.1');
