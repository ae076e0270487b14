// Cuts its own channel when it is asked to, which ends it with code 0.
const { createServer } = require('node:http');

createServer((request, response) => {
  response.end(String(process.pid));
  if (request.url === '/leave') process.disconnect();
}).listen(Number(process.env.PORT), '127.0.0.1');
