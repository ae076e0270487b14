// WebSocket by ws, and socket.io beside it, on one server.
const { createServer } = require('node:http');
const { WebSocketServer } = require('ws');
const { Server } = require('socket.io');

const server = createServer((request, response) => response.end(String(process.pid)));
const echo = new WebSocketServer({ noServer: true });
server.on('upgrade', (request, socket, head) => {
  if (request.url !== '/echo') return;
  echo.handleUpgrade(request, socket, head, (client) => {
    client.on('message', (data) => client.send(`${process.pid} ${data}`));
  });
});
const io = new Server(server, { transports: ['websocket'], destroyUpgrade: false });
io.on('connection', (socket) => {
  socket.on('question', (text, answer) => answer(`${process.pid} ${text}`));
});
server.listen(Number(process.env.PORT), '127.0.0.1');
