// LangChain, which has its own ideas of retries.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { ChatOpenAI } from '@langchain/openai';

import { secrets, startGateway } from './gateway.mjs';

let gateway;
before(async () => { gateway = await startGateway(); });
after(() => gateway?.stop());

function model(name, apiKey = secrets.good, more = {}) {
    return new ChatOpenAI({
        model: 'm1', apiKey, ...more, configuration: { baseURL: gateway.url, defaultHeaders: { 'X-Test': name } },
    });
}

async function refused(name, call, status, refusal) {
    const error = await call.then(() => assert.fail('was let in'), (e) => e);
    assert.equal(error.status, status);
    const lines = await gateway.logged(name);
    assert.deepEqual([lines.length, lines[0].refusal], [1, refusal], 'one attempt, no retry');
    assert.equal(gateway.upstream.seen.some((request) => request.headers['x-test'] === name), false);
}

test('a wrong key: invoke', () => refused('wrong', model('wrong', 'sk-not-a-key').invoke('Hi'), 401, 'invalid_key'));

test('a wrong key: stream', () => refused('wrong-stream', model('wrong-stream', 'sk-not-a-key').stream('Hi'), 401, 'invalid_key'));

test('a model that the key may not use', () =>
    refused('model', model('model', secrets.limited, { model: 'large-1' }).invoke('Hi'), 404, 'model'));
