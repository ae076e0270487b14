// Loads for a long time before it listens: BOOT milliseconds, in which its event loop stands.
const { createServer } = require('node:http');

const end = Date.now() + Number(process.env.BOOT);
while (Date.now() < end);

createServer((request, response) => response.end(String(process.pid)))
  .listen(Number(process.env.PORT), '127.0.0.1');
