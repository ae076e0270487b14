const fastify = require('fastify')();

fastify.get('/', async () => String(process.pid));
fastify.listen({ port: Number(process.env.PORT), host: '127.0.0.1' });
