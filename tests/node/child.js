// A worker's child: answers on the connections that it is sent. It ends with its parent.
'use strict';
const { createServer } = require('node:http');

const server = createServer((request, response) => {
  response.setHeader('Connection', 'close');
  response.end(JSON.stringify({ pid: process.pid, parent: process.ppid }));
});
process.on('message', (message, socket) => {
  server.emit('connection', socket);
  socket.resume();
});
