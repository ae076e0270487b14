// Looks where hardly any program does: at what the preload cannot hide.
'use strict';
const { AsyncResource } = require('node:async_hooks');
const { hasSubscribers } = require('node:diagnostics_channel');

const channels = ['net.server.socket', 'http.server.response.finish', 'http.server.request.start'];
console.log(
  JSON.stringify({
    subscribed: channels.filter((name) => hasSubscribers(name)),
    internal: process.listenerCount('internalMessage'),
    asyncId: new AsyncResource('look').asyncId(),
  }),
);
process.disconnect();
