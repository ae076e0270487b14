// The lesson's server, a process by itself: something that takes long, then a line of text. Only
// the port can be given from outside, and `/crash` is where the lesson crashes by chance.
const http = require('http');

http.createServer((req, res) => {
  for (let i = 0; i < 1000000; i++) {}
  if (req.url === '/crash') process.exit(1);
  res.end(`process ${process.pid}\n`);
}).listen(process.env.PORT || 5000, '127.0.0.1', () => {
  console.log(`Process ${process.pid} started`);
});
