// A stand-in for the master: just enough of Node's cluster to run one worker, with or without
// the preload, and to see every line that it sends.
import { spawn } from 'node:child_process';
import { createServer } from 'node:net';
import { once } from 'node:events';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
export const PRELOAD = join(here, '../../src/preload/preload.cjs');

// A test that waits longer than this has failed; nothing here takes a second on an idle machine.
const PATIENCE = 20_000;

export function app(name) {
  return join(here, 'apps', name);
}

// The environment of a worker whose user has set `NODE_OPTIONS` to `options`, or not at all.
export function environment({ preload, options, extra = {} }) {
  const { NODE_OPTIONS, NODE_TEST_CONTEXT, NODE_CHANNEL_FD, ...rest } = process.env;
  const own = options === undefined ? {} : { NODE_OPTIONS: options };
  if (!preload) {
    return { ...rest, ...own, ...extra };
  }
  const required = `--require "${PRELOAD}"`;
  return {
    ...rest,
    ...extra,
    NODE_OPTIONS: options ? `${required} ${options}` : required,
    MAITRED_NODE_OPTIONS: options === undefined ? '' : `=${options}`,
  };
}

export class Worker {
  constructor(script, { preload = true, options, extra, execArgv = [], args = [] } = {}) {
    const env = { ...environment({ preload, options, extra }), NODE_UNIQUE_ID: '1' };
    const stdio = ['ignore', 'pipe', 'pipe', 'ipc'];
    this.child = spawn(process.execPath, [...execArgv, script, ...args], { env, stdio });
    this.internal = [];
    this.messages = [];
    this.output = '';
    this.errors = '';
    this.key = 0;
    this.servers = new Map();
    this.waiting = new Set();
    this.child.stdout.setEncoding('utf8').on('data', (text) => this.note(() => (this.output += text)));
    this.child.stderr.setEncoding('utf8').on('data', (text) => this.note(() => (this.errors += text)));
    this.child.on('message', (message) => this.note(() => this.messages.push(message)));
    this.child.on('internalMessage', (message) => this.hear(message));
    this.child.on('error', () => {});
    this.closed = once(this.child, 'close');
  }

  note(action) {
    action();
    for (const check of this.waiting) {
      check();
    }
  }

  hear(message) {
    if (message.act === 'queryServer') {
      this.open(message);
    } else if (message.act === 'exitedAfterDisconnect') {
      this.say({ cmd: 'NODE_CLUSTER', ack: message.seq });
    } else if (message.act === 'close') {
      this.servers.get(message.key)?.close();
    }
    this.note(() => this.internal.push(message));
  }

  // Listens for the worker and hands it each connection, as Node's primary does.
  async open({ seq, address, port, data }) {
    const key = `server-${(this.key += 1)}`;
    const server = createServer();
    this.servers.set(key, server);
    server.listen(port, address ?? '127.0.0.1');
    await once(server, 'listening');
    server._handle.onconnection = (failure, handle) => {
      const line = { cmd: 'NODE_CLUSTER', act: 'newconn', key, seq: 0 };
      this.child.send(line, handle, () => handle.close());
    };
    this.port = server.address().port;
    const sockname = server.address();
    this.say({ cmd: 'NODE_CLUSTER', errno: null, key, ack: seq, data, sockname });
  }

  say(message) {
    if (this.child.connected) {
      this.child.send(message, () => {});
    }
  }

  ping(nonce) {
    this.say({ cmd: 'NODE_MAITRED', act: 'ping', nonce });
  }

  drain(grace) {
    this.say({ cmd: 'NODE_MAITRED', act: 'drain', grace });
  }

  disconnect() {
    this.say({ cmd: 'NODE_CLUSTER', act: 'disconnect' });
  }

  // What the preload said.
  words(act) {
    return this.internal.filter((message) => message.cmd === 'NODE_MAITRED' && message.act === act);
  }

  // Waits until the question has an answer that is true, and returns it.
  async until(what, question) {
    const { promise, resolve, reject } = later();
    const check = () => {
      const answer = question();
      if (answer) {
        resolve(answer);
      }
    };
    this.waiting.add(check);
    const timer = setTimeout(() => {
      reject(new Error(`no ${what}; it said ${JSON.stringify(this.internal)}, ${this.errors}`));
    }, PATIENCE);
    check();
    return promise.finally(() => {
      clearTimeout(timer);
      this.waiting.delete(check);
    });
  }

  word(act) {
    return this.until(act, () => this.words(act)[0]);
  }

  statistics(holds) {
    return this.until('such statistics', () => this.words('statistics').find(holds));
  }

  listening() {
    return this.until('listening', () => this.internal.find(({ act }) => act === 'listening'));
  }

  async exit() {
    const [code, signal] = await this.closed;
    return { code, signal };
  }

  async end() {
    this.child.kill('SIGKILL');
    for (const server of this.servers.values()) {
      server.close();
    }
    await this.closed;
  }
}

// `Promise.withResolvers`, which Node has from 22 on.
export function later() {
  const made = {};
  made.promise = new Promise((resolve, reject) => Object.assign(made, { resolve, reject }));
  return made;
}
