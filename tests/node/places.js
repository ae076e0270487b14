// What the test worker may be told to listen on, and how it serves there.
//
// A wish is a kind, its options, and an address: `tcp+max=9:127.0.0.1:0`. Of the kinds, `tcp`,
// `any` (a port alone), `unix`, `udp` and `inherited` (a TCP socket's number in the master) are
// those of the Rust worker; so are the options, but for `reuse-port` and `drop`, which newer Node
// knows. Only Node has these:
//
// | kind | what it is |
// |---|---|
// | `handle` | listens on what another server of its own has opened |
// | `echo` | speaks no HTTP, and sends back what it gets |
// | `gift` | sends its connections to the master, twice |
// | `pass-on` | sends them to a child of its own, which answers |
'use strict';
const cluster = require('node:cluster');
const { fork } = require('node:child_process');
const dgram = require('node:dgram');
const { once } = require('node:events');
const { createServer } = require('node:http');
const net = require('node:net');
const { join } = require('node:path');

const id = String(cluster.worker.id);

// What is open, by address.
const places = new Map();

function parse(wish) {
  const colon = wish.indexOf(':');
  const [kind, ...words] = wish.slice(0, colon).split('+');
  const options = new Map(words.map((word) => word.split('=')));
  return { kind, options, address: wish.slice(colon + 1) };
}

function ipAddress(address) {
  const colon = address.lastIndexOf(':');
  const host = address.slice(0, colon).replace(/^\[|\]$/g, '');
  return { host, port: Number(address.slice(colon + 1)) };
}

function written({ address, family, port }) {
  return family === 'IPv6' ? `[${address}]:${port}` : `${address}:${port}`;
}

function where({ kind, options, address }) {
  const where = {
    exclusive: options.has('exclusive'),
    ipv6Only: options.has('ipv6-only'),
    readableAll: options.has('readable-all'),
    writableAll: options.has('writable-all'),
    reusePort: options.has('reuse-port'),
  };
  if (options.has('backlog')) where.backlog = Number(options.get('backlog'));
  if (kind === 'unix') return { ...where, path: address };
  if (kind === 'inherited') return { fd: Number(address) };
  if (kind === 'any') return { ...where, port: Number(address) };
  return { ...where, ...ipAddress(address) };
}

function makeServer(kind) {
  if (kind === 'echo') return net.createServer((socket) => socket.pipe(socket));
  if (kind === 'gift') {
    return net.createServer({ pauseOnConnect: true }, (socket) => {
      process.send('once', socket);
      process.send('twice', socket);
    });
  }
  if (kind === 'pass-on') {
    const child = fork(join(__dirname, 'child.js'));
    return net.createServer({ pauseOnConnect: true }, (socket) => child.send('yours', socket));
  }
  return createServer((request, response) => {
    response.setHeader('x-worker-id', id);
    response.end('here\n');
  });
}

async function ownServer(wish) {
  const server = net.createServer().listen({ ...where(wish), exclusive: true });
  await once(server, 'listening');
  return server;
}

async function openServer(wish) {
  const { kind, options, address } = wish;
  const server = makeServer(kind);
  if (options.has('max')) server.maxConnections = Number(options.get('max'));
  if (options.has('drop')) server.dropMaxConnection = true;
  let data;
  // Node's own way to hand TLS ticket keys round.
  if (options.has('data')) server._getServerData = () => options.get('data');
  server._setServerData = (shared) => {
    data = shared ?? undefined;
  };
  server.listen(kind === 'handle' ? await ownServer(wish) : where(wish));
  await once(server, 'listening');
  const found = kind === 'unix' ? address : written(server.address());
  const end = async () => {
    server.closeAllConnections?.();
    server.close();
    await once(server, 'close');
  };
  places.set(found, end);
  return { address: found, data };
}

async function openSocket({ options, address }) {
  const { host, port } = ipAddress(address);
  const socket = dgram.createSocket({
    type: host.includes(':') ? 'udp6' : 'udp4',
    ipv6Only: options.has('ipv6-only'),
    reusePort: options.has('reuse-port'),
  });
  socket.on('message', (text, from) => socket.send(`${text} ${id}`, from.port, from.address));
  socket.bind({ address: host, port, exclusive: options.has('exclusive') });
  await once(socket, 'listening');
  const found = written(socket.address());
  places.set(found, async () => {
    socket.close();
    await once(socket, 'close');
  });
  return { address: found };
}

// Opens what is wished for and serves it; returns what came of it.
async function open(text) {
  const wish = parse(text);
  try {
    return await (wish.kind === 'udp' ? openSocket(wish) : openServer(wish));
  } catch (error) {
    return { errno: -error.errno, text: error.message };
  }
}

async function close(address) {
  const end = places.get(address);
  if (end === undefined) return false;
  places.delete(address);
  await end();
  return true;
}

module.exports = { close, open };
