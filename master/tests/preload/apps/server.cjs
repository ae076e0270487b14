// A server of many manners. It knows nothing of the preload.
'use strict';
const http = require('node:http');
const https = require('node:https');

const held = [];

function answer(request, response) {
  const { pathname } = new URL(request.url, 'http://localhost');
  if (pathname === '/hold') {
    // Answered when somebody asks for /release.
    held.push(() => response.end('held end'));
  } else if (pathname === '/stream') {
    response.writeHead(200, { 'Content-Type': 'text/event-stream' });
    response.write('data: first\n\n');
    held.push(() => response.end('stream end'));
  } else if (pathname === '/release') {
    held.splice(0).forEach((release) => release());
    response.end('released end');
  } else if (pathname === '/keep') {
    response.setHeader('Connection', 'keep-alive');
    response.end('kept end');
  } else if (pathname === '/headers') {
    response.end(`${JSON.stringify(response.getHeaders())} end`);
  } else {
    response.end('plain end');
  }
}

// A key that both sides know spares the tests a certificate.
const { TLS_KEY } = process.env;
const server = TLS_KEY
  ? https.createServer({ ciphers: 'PSK', pskCallback: () => Buffer.from(TLS_KEY, 'hex') }, answer)
  : http.createServer(answer);
server.keepAliveTimeout = 60_000;
server.on('upgrade', (request, socket) => {
  socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\nend');
  socket.pipe(socket);
});
server.listen(0, '127.0.0.1');

process.on('message', (message) => {
  if (message === 'release') {
    held.splice(0).forEach((release) => release());
  } else if (message.busy) {
    const end = Date.now() + message.busy;
    while (Date.now() < end);
  }
});
