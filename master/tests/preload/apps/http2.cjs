// HTTP/2 without TLS. A stream to /hold ends when the master says so.
'use strict';
const http2 = require('node:http2');

let release;
const server = http2.createServer((request, response) => {
  if (request.url === '/hold') {
    release = () => response.end('held end');
  } else {
    response.end('plain end');
  }
});
server.listen(0, '127.0.0.1');
process.on('message', () => release());
