// A program of tests, run as such.
import test from 'node:test';
import assert from 'node:assert/strict';

test('nothing of the preload is here', () => {
  assert.equal(process.env.MAITRED_NODE_OPTIONS, undefined);
  assert.equal(process.env.NODE_OPTIONS, undefined);
});
