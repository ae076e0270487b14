// The first program of Express's own introduction, with a port from outside.
const express = require('express');

const app = express();
app.get('/', (request, response) => response.send(String(process.pid)));
app.listen(Number(process.env.PORT), '127.0.0.1');
