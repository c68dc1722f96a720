// The official OpenAI client.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import OpenAI, { AzureOpenAI } from 'openai';

import { secrets, startGateway } from './gateway.mjs';
import { text as answer } from './upstream/plan.mjs';

let gateway;
before(async () => { gateway = await startGateway(); });
after(() => gateway?.stop());

const messages = [{ role: 'user', content: 'Hi' }];

// A client whose requests carry this name, by which their log lines are found.
function client(name, apiKey = secrets.good, more = {}) {
    return new OpenAI({ baseURL: gateway.url, apiKey, ...more, defaultHeaders: { 'X-Test': name, ...more.defaultHeaders } });
}

async function textAndUsage(stream) {
    let text = '';
    let usage = null;
    for await (const chunk of stream) {
        text += chunk.choices[0]?.delta.content ?? '';
        usage = chunk.usage ?? usage;
    }
    return { text, usage };
}

function assertCounted(line, usage) {
    assert.deepEqual([Number(line.prompt), Number(line.completion), Number(line.total)],
                     [usage.prompt_tokens, usage.completion_tokens ?? 0, usage.total_tokens]);
    assert.equal(line.source, 'upstream');
    assert.equal(line.outcome, 'ok');
}

// The request has to be refused in one attempt, without the upstream being asked.
async function refused(name, call, ErrorClass, expected) {
    const before = gateway.upstream.seen.length;
    const error = await call.then(() => assert.fail('was let in'), (e) => e);
    assert.ok(error instanceof ErrorClass, String(error));
    const { status, code, type } = error;
    const lines = await gateway.logged(name);
    assert.deepEqual({ status, code, type, refusal: lines[0].refusal, attempts: lines.length },
                     { type: 'invalid_request_error', attempts: 1, ...expected });
    assert.equal(lines[0].outcome, 'refused');
    assert.equal(gateway.upstream.seen.length, before);
    return error;
}

test('what the log has of a stream', async () => {
    const { text, usage } = await textAndUsage(await client('stream').chat.completions.create(
        { model: 'm1', messages, stream: true, stream_options: { include_usage: true } }));
    assert.equal(text, answer);

    const [line] = await gateway.logged('stream');
    assertCounted(line, usage);
    assert.deepEqual([line.key, line.user, line.model, line.stream], ['good-key', 'alice', 'm1', '1']);
    assert.match(line.firstToken, /^\d+\.\d{3}$/);
});

test('a request of several megabytes', async () => {
    const content = [{ type: 'image_url', image_url: { url: `data:image/png;base64,${'iVBORw0K'.repeat(400000)}` } }];
    const reply = await client('large').chat.completions.create({ messages: [{ role: 'user', content }], model: 'm1' });
    assert.equal(JSON.parse(gateway.upstream.seen.at(-1).body).messages[0].content[0].image_url.url.length,
                 content[0].image_url.url.length);
    const [line] = await gateway.logged('large');
    assertCounted(line, reply.usage);
    assert.equal(line.model, 'm1');
});

test('the key does not reach the upstream, nor the log', async () => {
    await client('hidden').chat.completions.create({ model: 'm1', messages });
    assert.doesNotMatch(JSON.stringify(gateway.upstream.seen.at(-1)), new RegExp(secrets.good));
    assert.equal((await gateway.logged('hidden'))[0].authorization, '');
});

test('models.list', async () => {
    const ids = [];
    for await (const model of client('models').models.list()) {
        ids.push(model.id);
    }
    assert.deepEqual(ids, ['m1']);
    assert.equal((await gateway.logged('models'))[0].key, 'good-key');
});

test('a client that sends its key as api-key', async () => {
    const azure = new AzureOpenAI({
        baseURL: gateway.url, apiKey: secrets.good, apiVersion: '2024-10-21', defaultHeaders: { 'X-Test': 'api-key' },
    });
    const reply = await azure.embeddings.create({ model: 'm1', input: 'a' });
    assert.equal(gateway.upstream.seen.at(-1).headers['api-key'], undefined);
    assertCounted((await gateway.logged('api-key'))[0], reply.usage);
});

test('a wrong key', async () => {
    const call = client('wrong', 'sk-not-a-key').chat.completions.create({ model: 'm1', messages });
    const error = await refused('wrong', call, OpenAI.AuthenticationError,
                                { status: 401, code: 'invalid_api_key', refusal: 'invalid_key' });
    assert.doesNotMatch(error.message, /sk-not-a-key/);
});

test('a wrong key, streaming', async () => {
    const call = client('wrong-stream', 'sk-not-a-key').chat.completions.create({ model: 'm1', messages, stream: true });
    await refused('wrong-stream', call, OpenAI.AuthenticationError,
                  { status: 401, code: 'invalid_api_key', refusal: 'invalid_key' });
});

test('no key', async () => {
    const call = client('none', 'unused', { defaultHeaders: { Authorization: null } }).models.list();
    const error = await refused('none', call, OpenAI.AuthenticationError, { status: 401, code: null, refusal: 'no_key' });
    assert.equal(error.headers.get('www-authenticate'), 'Bearer');
});

test('a disabled and an expired key', async () => {
    for (const name of ['disabled', 'expired']) {
        const call = client(name, secrets[name]).chat.completions.create({ model: 'm1', messages });
        await refused(name, call, OpenAI.AuthenticationError, { status: 401, code: 'invalid_api_key', refusal: name });
    }
});

test('a model that the key may not use', async () => {
    const call = client('model', secrets.limited).chat.completions.create({ model: 'large-1', messages });
    const error = await refused('model', call, OpenAI.NotFoundError,
                                { status: 404, code: 'model_not_found', refusal: 'model' });
    assert.match(error.message, /large-1/);
});

test('models that it may use', async () => {
    for (const model of ['m1', 'small-2']) {
        await client(model, secrets.limited).chat.completions.create({ model, messages });
        assert.equal((await gateway.logged(model))[0].outcome, 'ok');
    }
});

test("the upstream's own errors are passed on", async () => {
    const call = client('upstream-404').chat.completions.create({ model: 'unknown-upstream', messages });
    const error = await call.then(() => assert.fail('no error'), (e) => e);
    assert.ok(error instanceof OpenAI.NotFoundError);
    assert.equal(error.type, 'NotFoundError');
    const [line] = await gateway.logged('upstream-404');
    assert.deepEqual([line.outcome, line.refusal, line.status], ['upstream_error', '', '404']);
});

test('a client that leaves in mid-stream is charged for what it got, and ends the request upstream', async () => {
    const stream = await client('abort').chat.completions.create({
        model: 'never-ends', messages, stream: true, stream_options: { include_usage: true, continuous_usage_stats: true },
    });
    let usage;
    for await (const chunk of stream) {
        if (chunk.choices[0]?.delta.content) {
            ({ usage } = chunk);
            const { running } = await gateway.status().then((status) => status.zones[0]);
            assert.deepEqual(running.map((r) => [r.key, r.model, r.completion_tokens]),
                             [['good-key', 'never-ends', usage.completion_tokens]]);
            break; // the client aborts its request
        }
    }
    const [line] = await gateway.logged('abort');
    assert.deepEqual([line.outcome, line.source, line.prompt, line.completion],
                     ['client_abort', 'partial', String(usage.prompt_tokens), String(usage.completion_tokens)]);
    await gateway.upstream.seen.at(-1).closed;
    assert.equal((await gateway.status()).zones[0].leases.running, 0);
});

test('the counters are the sum of what clients saw', async () => {
    const totals = async () => (await gateway.status()).zones[0].keys.find((key) => key.name === 'good-key');
    const before = await totals();
    const replies = await Promise.all(Array.from({ length: 20 }, (_, i) => (i % 2
        ? client(`sum-${i}`).chat.completions.create({ model: 'm1', messages })
        : client(`sum-${i}`).chat.completions.create({ model: 'm1', messages, stream: true, stream_options: { include_usage: true } })
            .then(textAndUsage))));
    await Promise.all(replies.map((_, i) => gateway.logged(`sum-${i}`)));
    const after = await totals();
    const seen = replies.reduce((sum, reply) => sum + reply.usage.total_tokens, 0);
    assert.equal(after.total_tokens - before.total_tokens, seen);
    assert.equal(after.requests - before.requests, 20);
    assert.equal(after.in_flight, 0);
});
