// What the test worker may be told to listen on, and how it serves there.
//
// A wish is a kind, its options, and an address: `tcp+max=9:127.0.0.1:0`. The kinds are `tcp`,
// `any` (a port alone), `unix`, `udp` and `inherited` (a TCP socket's number in the master). The
// options are those of the Rust worker, and `reuse-port` and `drop`, which newer Node knows.
'use strict';
const cluster = require('node:cluster');
const dgram = require('node:dgram');
const { once } = require('node:events');
const { createServer } = require('node:http');

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

async function openServer(wish) {
  const { kind, options, address } = wish;
  const server = createServer((request, response) => {
    response.setHeader('x-worker-id', id);
    response.end('here\n');
  });
  if (options.has('max')) server.maxConnections = Number(options.get('max'));
  if (options.has('drop')) server.dropMaxConnection = true;
  let data;
  // Node's own way to hand TLS ticket keys round.
  if (options.has('data')) server._getServerData = () => options.get('data');
  server._setServerData = (shared) => {
    data = shared ?? undefined;
  };
  server.listen(where(wish));
  await once(server, 'listening');
  const found = kind === 'unix' ? address : written(server.address());
  const end = async () => {
    server.closeAllConnections();
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
