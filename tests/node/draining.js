// A server that ends politely by itself, as pm2's documents advise: it says when it is ready, and
// on SIGINT closes its server and exits. DELAY makes every answer take so many milliseconds;
// with POLITE=1 it also announces the end in the answers that it still gives, with PLAIN=1 it
// knows nothing of signals, and with TOLD=1 it does the same at the message `shutdown` instead.
const { createServer } = require('node:http');

const delay = Number(process.env.DELAY ?? 0);
let isDraining = false;

const server = createServer((request, response) => {
  const answer = () => {
    if (isDraining) response.setHeader('Connection', 'close');
    response.end('ok');
  };
  if (delay > 0) setTimeout(answer, delay);
  else answer();
});
server.listen(Number(process.env.PORT), '127.0.0.1', () => process.send?.('ready'));
function leave() {
  isDraining = process.env.POLITE === '1';
  server.close(() => process.exit(0));
}

if (process.env.TOLD === '1') process.on('message', (word) => word === 'shutdown' && leave());
else if (process.env.PLAIN !== '1') process.on('SIGINT', leave);
