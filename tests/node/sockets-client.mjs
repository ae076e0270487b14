// Asks sockets.js over a WebSocket and over socket.io, several times each; prints who answered.
import WebSocket from 'ws';
import { io } from 'socket.io-client';

const [address, times] = [process.argv[2], Number(process.argv[3])];

function echo(text) {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(`ws://${address}/echo`);
    socket.on('open', () => socket.send(text));
    socket.on('message', (data) => {
      socket.close();
      resolve(String(data));
    });
    socket.on('error', reject);
  });
}

function question(text) {
  return new Promise((resolve, reject) => {
    const options = { transports: ['websocket'], forceNew: true, reconnection: false };
    const socket = io(`http://${address}`, options);
    socket.on('connect', () => {
      socket.emit('question', text, (answer) => {
        socket.close();
        resolve(answer);
      });
    });
    socket.on('connect_error', reject);
  });
}

for (let i = 0; i < times; i += 1) {
  console.log('ws', await echo(`hello ${i}`));
  console.log('io', await question(`hello ${i}`));
}
