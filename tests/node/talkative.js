// Has so much to say to its primary that whatever it says next has to wait: `/say?mb=N` sends
// that many megabytes, and then holds the event loop until the next request is there as well.
// `/die` ends it at once; `/wait` is never answered.
const { createServer } = require('node:http');

function block(milliseconds) {
  const end = Date.now() + milliseconds;
  while (Date.now() < end);
}

const server = createServer((request, response) => {
  const url = new URL(request.url, 'http://localhost');
  if (url.pathname === '/say') {
    process.send('x'.repeat(Number(url.searchParams.get('mb')) << 20));
    block(300);
  }
  if (url.pathname === '/die') process.kill(process.pid, 'SIGKILL');
  if (url.pathname !== '/wait') response.end(String(process.pid));
});
server.listen(Number(process.env.PORT), '127.0.0.1');
