// Closes its channel in the middle of its work, and goes on for more than a second.
'use strict';
const http = require('node:http');
process.on('error', (error) => console.error('seen', error));

http
  .createServer((request, response) => {
    if (request.url === '/leave') {
      require('node:cluster').worker.exitedAfterDisconnect = true;
      process.disconnect();
      setTimeout(() => {
        response.end('left end');
        setTimeout(() => process.exit(0), 100);
      }, 1200);
    } else {
      response.end('served end');
    }
  })
  .listen(0, '127.0.0.1');
