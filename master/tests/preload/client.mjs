// A client that keeps its connection, and tells what became of it.
import { connect as connectTcp } from 'node:net';
import { connect as connectTls } from 'node:tls';

export class Client {
  // With `key`, in hexadecimal, it speaks TLS.
  constructor(port, { key } = {}) {
    const address = { port, host: '127.0.0.1' };
    this.socket = key ? connectTls({ ...address, ...shared(key) }) : connectTcp(address);
    this.text = '';
    this.ended = false;
    this.waiting = new Set();
    this.socket.setEncoding('utf8');
    this.socket.on('data', (text) => this.note(() => (this.text += text)));
    for (const event of ['end', 'close', 'error', 'connect', 'secureConnect']) {
      this.socket.on(event, () => this.note(() => (this.ended ||= /end|close|error/.test(event))));
    }
  }

  note(action) {
    action();
    for (const check of this.waiting) {
      check();
    }
  }

  until(holds) {
    return new Promise((resolve) => {
      const check = () => {
        if (holds()) {
          this.waiting.delete(check);
          resolve();
        }
      };
      this.waiting.add(check);
      check();
    });
  }

  send(path, { method = 'GET', headers = {} } = {}) {
    this.text = '';
    const lines = Object.entries({ Host: 'localhost', ...headers }).map(([k, v]) => `${k}: ${v}\r\n`);
    this.socket.write(`${method} ${path} HTTP/1.1\r\n${lines.join('')}\r\n`);
  }

  async answer(ending = /\r\n\r\n[^]*\bend\b/) {
    await this.until(() => ending.test(this.text) || this.ended);
    return this.text;
  }

  async get(path) {
    this.send(path);
    return this.answer();
  }

  close() {
    this.socket.destroy();
  }
}

function shared(key) {
  const known = { psk: Buffer.from(key, 'hex'), identity: 'test' };
  return { ciphers: 'PSK', checkServerIdentity: () => {}, pskCallback: () => known };
}
