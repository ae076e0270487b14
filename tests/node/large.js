// `/large` is an answer of 30 MB; everything else is small.
const { createServer } = require('node:http');

const large = Buffer.alloc(30_000_000, 'x');
createServer((request, response) => {
  response.setHeader('x-pid', String(process.pid));
  response.end(request.url === '/large' ? large : 'small');
}).listen(Number(process.env.PORT), '127.0.0.1');
