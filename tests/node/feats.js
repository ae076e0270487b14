// What a Node worker can do and a Rust worker cannot, or need not: orders of the test worker.
//
// | order | what it does | its answer |
// |---|---|---|
// | `node` | | the version of its Node |
// | `descriptors` | | how many it has |
// | `bind-again KIND COUNT` | binds port 0 and closes it so often, one by one and in pairs | the pairs' ports |
// | `bind-in-haste COUNT` | closes UDP sockets in the middle of their binding | how many were closed |
// | `send-unbound ADDRESS` | sends `hello` from a UDP socket that it did not bind | what it got back, and where |
// | `listen-and-leave ADDRESS` | leaves its master when it may not listen there | none |
// | `overhear` | notes from now on what `process` and `cluster.worker` emit | that it does |
// | `overheard` | emits an error on `process` | what was noted |
// | `run-on CODE` | once it is disconnected, it still does something, and exits | that it will |
// | `cut CODE` | cuts its channel, and would do the same | none |
'use strict';
const cluster = require('node:cluster');
const dgram = require('node:dgram');
const { once } = require('node:events');
const { readdirSync } = require('node:fs');
const net = require('node:net');
const { setImmediate: nextTurn } = require('node:timers/promises');

const { worker } = cluster;
const noted = [];

function bound(kind = 'udp') {
  if (kind === 'tcp') return net.createServer().listen(0, '127.0.0.1');
  return dgram.createSocket('udp4').bind(0, '127.0.0.1');
}

async function closed(socket) {
  socket.close();
  await once(socket, 'close');
}

function exitLater(code) {
  // Two turns of the event loop later is later than whatever ends a process by itself.
  setImmediate(() => setImmediate(() => process.exit(Number(code))));
}

function note(name, emitter) {
  emitter.on('message', (message) => noted.push([name, message.order]));
  emitter.on('error', (error) => noted.push([name, error.message]));
}

module.exports = {
  node: () => process.versions.node,

  descriptors: () => readdirSync('/proc/self/fd').length,

  'bind-again': async (object) => {
    const [kind, count] = object.split(' ');
    const pairs = [];
    for (let turn = 0; turn < Number(count); turn += 1) {
      const alone = bound(kind);
      await once(alone, 'listening');
      await closed(alone);
      const both = [bound(kind), bound(kind)];
      await Promise.all(both.map((socket) => once(socket, 'listening')));
      pairs.push(both.map((socket) => socket.address().port));
      // The one that is closed first is another one each time.
      if (turn % 2 === 0) both.reverse();
      for (const socket of both) await closed(socket);
    }
    return pairs;
  },

  'bind-in-haste': async (count) => {
    let ends = 0;
    for (let turn = 0; turn < Number(count); turn += 1) {
      // One before the master can have answered, two in the very moment, of which one does not
      // keep the process alive.
      const [soon, late, idle] = [bound(), bound(), bound()];
      for (const socket of [late, idle]) once(socket, 'listening').then(() => socket.close());
      const done = [soon, late, idle].map((socket) => once(socket, 'close'));
      idle.unref();
      soon.close();
      await Promise.all(done);
      ends += done.length;
    }
    return ends;
  },

  'send-unbound': async (address) => {
    const [host, port] = address.split(':');
    const socket = dgram.createSocket('udp4');
    const answered = once(socket, 'message');
    socket.send('hello', Number(port), host);
    const [text] = await answered;
    const own = socket.address().port;
    await closed(socket);
    return { text: String(text), port: own };
  },

  'listen-and-leave': (address) => {
    const [host, port] = address.split(':');
    const server = net.createServer().listen(Number(port), host);
    server.once('error', () => worker.disconnect());
  },

  overhear: () => {
    note('process', process);
    note('worker', worker);
    return true;
  },

  overheard: async () => {
    // The order is itself a message, and has not yet been heard by all.
    await nextTurn();
    process.emit('error', new Error('made up'));
    return noted;
  },

  'run-on': (code) => {
    process.once('disconnect', () => exitLater(code));
    return true;
  },

  cut: (code) => {
    process.once('disconnect', () => exitLater(code));
    process.disconnect();
  },
};
