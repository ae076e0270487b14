// Listens in ways that JavaScript allows and hardly anybody means, and answers with what came of
// each: the port or path, or the error's code. With LISTEN_FD it answers on the socket of that
// number in its primary.
const { createServer } = require('node:http');
const net = require('node:net');
const dgram = require('node:dgram');

function bind(...where) {
  const socket = dgram.createSocket('udp4');
  return new Promise((resolve) => {
    socket.once('error', (error) => resolve(error.code));
    socket.bind(...where, () => resolve(socket.address()));
  });
}

function listen(where) {
  const server = net.createServer();
  return new Promise((resolve) => {
    server.once('error', (error) => resolve(error.code));
    server.listen(where, () => resolve(server.address()));
  });
}

async function tryAll() {
  return JSON.stringify({
    nothing: await bind(),
    addressOnly: await bind({ address: '127.0.0.1' }),
    text: await bind(process.env.UDP_PORT, '127.0.0.1'),
    noNumber: await bind('http', '127.0.0.1'),
    impossible: await listen({ path: '/no/such/folder/socket' }),
    readable: await listen({ path: process.env.SOCKET_PATH, readableAll: 1 }),
  });
}

const server = createServer(async (request, response) => response.end(await seen));
if (process.env.LISTEN_FD) server.listen({ fd: Number(process.env.LISTEN_FD) });
else server.listen(Number(process.env.PORT), '127.0.0.1');
const seen = process.env.LISTEN_FD ? String(process.pid) : tryAll();
