// What Google's client makes of refusals, limits and cut streams, and what costs nothing. It never tries again by itself.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { ApiError, GoogleGenAI } from '@google/genai';

import { secrets, startGateway } from './gateway.mjs';
import { text } from './upstream/plan.mjs';

const secretOf = (name) => `sk-${name}-0123456789`;
const limits = {
    // One every three seconds: a machine has to be very slow for the second request to find the first one's place free.
    requests: { requests: '20r/m', burst: 0 },
    'requests-patient': { requests: '20r/m', burst: 0 },
    'concurrency-patient': { concurrency: 1 },
    quota: { quota: '10/total' },
    cut: { quota: '1000/total' },
    'cut-array': { quota: '1000/total' },
    free: {},
    uncounted: {},
    query: {},
};
const keys = Object.entries(limits).map(([name, of]) => ({ name, key: secretOf(name), limits: of }));

let gateway;
before(async () => { gateway = await startGateway(keys); });
after(() => gateway?.stop());

// Some retries, as one may ask for.
const patient = { retryOptions: { attempts: 5, initialDelay: 0.5 } };

const clientOf = (id, { key = secrets.good, prefix = '', ...options } = {}) => new GoogleGenAI(
    { apiKey: key, httpOptions: { baseUrl: gateway.root + prefix, headers: { 'X-Test': id }, ...options } });

const ask = (client, model) => client.models.generateContent({ model, contents: 'Hi' });

// The same without the client.
const request = { contents: [{ parts: [{ text: 'Hi' }] }] };
const post = (id, target, { key, body = request, headers } = {}) => fetch(gateway.root + target, {
    method: 'POST', body: JSON.stringify(body),
    headers: { 'X-Test': id, 'content-type': 'application/json', ...(key && { 'x-goog-api-key': key }), ...headers },
});

const failure = (promise) => promise.then(() => assert.fail('no error'), (error) => error);
const reached = (id) => gateway.upstream.seen.filter((request) => request.headers['x-test'] === id);

async function untilFailure(stream) {
    const responses = [];
    const error = await failure((async () => {
        for await (const response of stream) {
            responses.push(response);
        }
    })());
    return { error, responses };
}

// The error in Google's shape, which the client raised from a reply's body.
function assertApiError(error, status, name) {
    assert.ok(error instanceof ApiError, String(error));
    assert.equal(error.status, status);
    const body = JSON.parse(error.message);
    assert.deepEqual(Object.keys(body), ['error']);
    const { code, message, status: said } = body.error;
    assert.deepEqual([code, said], [status, name]);
    assert.ok(message.length > 0);
    return message;
}

async function assertLogged(id, expected) {
    const [line] = await gateway.logged(id);
    assert.deepEqual(Object.fromEntries(Object.keys(expected).map((name) => [name, line[name]])), expected);
}

async function countersOf(name) {
    const [zone] = (await gateway.status()).zones;
    return zone.keys.find((key) => key.name === name);
}

const refusals = [
    { what: 'a wrong key', key: 'sk-nobody', status: 401, name: 'UNAUTHENTICATED' },
    { what: 'a disabled key', key: secrets.disabled, status: 401, name: 'UNAUTHENTICATED' },
    { what: 'an expired key', key: secrets.expired, status: 401, name: 'UNAUTHENTICATED' },
    { what: 'a model', key: secrets.limited, model: 'large', status: 404, name: 'NOT_FOUND', message: /large/ },
    { what: 'a tuned model', key: secrets.limited, model: 'tunedModels/m1', status: 404, name: 'NOT_FOUND' },
    { what: 'a path', prefix: '/nosuch', status: 404, name: 'NOT_FOUND' },
    { what: 'a large body', prefix: '/small', status: 413, name: 'INVALID_ARGUMENT' },
    { what: 'no upstream', prefix: '/down', status: 502, name: 'UNAVAILABLE' },
];

describe('gemini', { concurrency: true }, () => {
    for (const { what, model = 'm1', status, name, message = /\w/, ...how } of refusals) {
        for (const [kind, call] of [
            ['plain', ask],
            ['stream', (client) => client.models.generateContentStream({ model, contents: 'Hi' })],
        ]) {
            test(`refused: ${what}, ${kind}`, async () => {
                const id = `gemini-${what}-${kind}`;
                const error = await failure(call(clientOf(id, how), model));
                assert.match(assertApiError(error, status, name), message);
                assert.equal((await gateway.logged(id)).length, 1);
                assert.equal(reached(id).length, 0);
            });
        }
    }

    test('a refusal to stream as an array', async () => {
        const response = await post('gemini-array-refused', '/v1beta/models/m1:streamGenerateContent', { key: 'sk-nobody' });
        assert.deepEqual([response.status, response.headers.get('content-type')], [401, 'application/json']);
        assert.equal((await response.json()).error.status, 'UNAUTHENTICATED');
    });

    test('models that the key may use', async () => {
        for (const model of ['m1', 'models/m1', 'small-one']) {
            const id = `gemini-allowed-${model}`;
            assert.equal((await ask(clientOf(id, { key: secrets.limited }), model)).text, text);
            await assertLogged(id, { model: model.replace('models/', ''), key: 'limited-key', user: 'bob' });
        }
    });

    test('the key goes no further', async () => {
        const id = 'gemini-key';
        assert.equal((await ask(clientOf(id), 'm1')).text, text);
        const [{ url, headers, body }] = reached(id);
        assert.equal(url, '/v1beta/models/m1:generateContent');
        assert.ok(!('x-goog-api-key' in headers));
        assert.ok(!JSON.stringify([url, headers, body]).includes(secrets.good));
    });

    test('a key in the query is not taken', async () => {
        for (const target of [
            '/v1beta/models/m1:generateContent', '/v1beta/models/m1:streamGenerateContent', '/v1beta/models/m1:embedContent',
        ]) {
            const id = `gemini-query-${target}`;
            const response = await post(id, `${target}?alt=sse&key=${secretOf('query')}`);
            assert.equal(response.status, 401);
            const { error } = await response.json();
            assert.deepEqual([error.code, error.status], [401, 'UNAUTHENTICATED']);
            await assertLogged(id, { status: '401', refusal: 'no_key', key: '' });
            assert.equal(reached(id).length, 0);
        }
        assert.equal((await countersOf('query'))?.requests ?? 0, 0);
    });

    test('the key may come as other APIs send it', async () => {
        const id = 'gemini-bearer';
        const headers = { authorization: `Bearer ${secrets.good}` };
        const response = await post(id, '/v1beta/models/m1:generateContent', { headers });
        assert.equal(response.status, 200);
        await response.text();
        await assertLogged(id, { key: 'good-key', outcome: 'ok' });
    });

    test('counting tokens is free', async () => {
        const id = 'gemini-free';
        const client = clientOf(id, { key: secretOf('free') });
        assert.equal((await client.models.countTokens({ model: 'm1', contents: 'Hi' })).totalTokens, 31);
        await assertLogged(id, { outcome: 'ok', model: 'm1', source: 'none', prompt: '', completion: '', total: '' });
        const { requests, total_tokens: total } = await countersOf('free');
        assert.deepEqual([requests, total], [1, 0]);
    });

    test('embeddings of which nothing is told', async () => {
        const id = 'gemini-uncounted';
        const client = clientOf(id, { key: secretOf('uncounted') });
        const { embeddings } = await client.models.embedContent({ model: 'm1', contents: ['a', 'b'] });
        assert.equal(embeddings.length, 2);
        const [line] = await gateway.logged(id);
        assert.deepEqual([line.source, line.completion, line.model], ['estimated', '0', 'm1']);
        assert.ok(Number(line.prompt) > 0);
    });

    test('one embedding', async () => {
        const id = 'gemini-one';
        const response = await post(id, '/v1beta/models/counts:embedContent',
                                    { key: secrets.good, body: { model: 'models/counts', content: { parts: [{ text: 'Hi' }] } } });
        const { usageMetadata } = await response.json();
        const prompt = String(usageMetadata.promptTokenCount);
        await assertLogged(id, { source: 'upstream', model: 'counts', prompt, completion: '0' });
    });

    test('a stream that a hard limit ends', async () => {
        const id = 'gemini-cut';
        const client = clientOf(id, { key: secretOf('cut'), prefix: '/hard' });
        const { error, responses } = await untilFailure(
            await client.models.generateContentStream({ model: 'runs-on', contents: 'Hi' }));
        assert.ok(error instanceof ApiError, String(error));
        assert.equal(error.status, 429);
        assert.match(error.message, /RESOURCE_EXHAUSTED.*exceeded your current quota/);
        assert.ok(responses.length > 0, 'after what came before');
        await assertLogged(id, { status: '200', outcome: 'cut', refusal: 'quota' });
    });

    test('a stream that the upstream ends with an error', async () => {
        const id = 'gemini-broken';
        const { error, responses } = await untilFailure(
            await clientOf(id).models.generateContentStream({ model: 'breaks', contents: 'Hi' }));
        assert.ok(error instanceof ApiError, String(error));
        assert.equal(error.status, 503);
        assert.match(error.message, /EngineCore died/);
        assert.equal(responses.length, 1);
        await assertLogged(id, { status: '200', outcome: 'upstream_error' });
    });

    test('an array that the upstream ends with an error', async () => {
        const id = 'gemini-broken-array';
        const response = await post(id, '/v1beta/models/breaks:streamGenerateContent', { key: secrets.good });
        assert.equal((await response.json()).at(-1).error.message, 'EngineCore died');
        await assertLogged(id, { status: '200', outcome: 'upstream_error' });
    });

    for (const [limit, message] of [['requests', /Please try again in [1-3]s/], ['quota', /exceeded your current quota/]]) {
        test(`gives up at once: ${limit}`, async () => {
            const id = `gemini-${limit}`;
            const key = secretOf(limit);
            assert.equal((await ask(clientOf(`${id}-first`, { key }), 'm1')).text, text);
            await gateway.logged(`${id}-first`);
            assert.match(assertApiError(await failure(ask(clientOf(id, { key }), 'm1')), 429, 'RESOURCE_EXHAUSTED'), message);
            assert.deepEqual((await gateway.logged(id)).map(({ refusal }) => refusal), [limit]);
            assert.equal(reached(id).length, 0);
        });
    }

    // Refused at first, and let in in the end.
    async function assertWaitedOut(id, refusal) {
        const attempts = await gateway.logged(id, 2);
        const last = attempts.pop();
        assert.deepEqual([last.status, last.outcome], ['200', 'ok']);
        assert.ok(attempts.length > 0);
        assert.deepEqual(attempts.map(({ status, refusal: why }) => [status, why]), attempts.map(() => ['429', refusal]));
        assert.equal(reached(id).length, 1);
    }

    test('told to, tries again until a rate of requests lets it in', async () => {
        const id = 'gemini-requests-patient';
        const how = { key: secretOf('requests-patient'), ...patient };
        assert.equal((await ask(clientOf(`${id}-first`, how), 'm1')).text, text);
        assert.equal((await ask(clientOf(id, how), 'm1')).text, text);
        await assertWaitedOut(id, 'requests');
    });

    test('told to, tries again until another request has ended', async () => {
        const id = 'gemini-concurrency-patient';
        const key = secretOf('concurrency-patient');
        const running = await post(`${id}-other`, '/v1beta/models/never-ends:streamGenerateContent?alt=sse', { key });
        assert.equal(running.status, 200);

        const answer = ask(clientOf(id, { key, ...patient }), 'm1');
        await Promise.race([gateway.logged(id), answer]);
        await running.body.cancel();
        assert.equal((await answer).text, text);
        await assertWaitedOut(id, 'concurrency');
    });
});
