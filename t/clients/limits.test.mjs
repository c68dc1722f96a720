// What clients make of each limit: most wait out a short one, and give up at once where a quota is spent. What they did is read from
// the gateway's log and from what reached the upstream.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { createOpenAI } from '@ai-sdk/openai';
import Anthropic from '@anthropic-ai/sdk';
import { ChatOpenAI } from '@langchain/openai';
import { generateText } from 'ai';
import { Ollama } from 'ollama';
import OpenAI from 'openai';

import { startGateway } from './gateway.mjs';
import { text } from './upstream/plan.mjs';

const messages = [{ role: 'user', content: 'Hi' }];
const headers = (test) => ({ 'X-Test': test });

// How each client asks once, with its own number of retries: resolves to the text of the answer.
const clients = {
    openai: async (apiKey, test) => {
        const client = new OpenAI({ baseURL: gateway.url, apiKey, defaultHeaders: headers(test) });
        return (await client.chat.completions.create({ model: 'm1', messages })).choices[0].message.content;
    },
    langchain: async (apiKey, test) => {
        const model = new ChatOpenAI({ model: 'm1', apiKey, configuration: { baseURL: gateway.url, defaultHeaders: headers(test) } });
        return (await model.invoke('Hi')).content;
    },
    anthropic: async (apiKey, test) => {
        const client = new Anthropic({ baseURL: gateway.url.replace(/\/v1$/, ''), apiKey, defaultHeaders: headers(test) });
        return (await client.messages.create({ model: 'm1', max_tokens: 16, messages })).content[0].text;
    },
    ai: async (apiKey, test) => {
        const provider = createOpenAI({ baseURL: gateway.url, apiKey, headers: headers(test) });
        return (await generateText({ model: provider.chat('m1'), prompt: 'Hi' })).text;
    },
    ollama: async (apiKey, test) => {
        const client = new Ollama({ host: gateway.root, headers: { ...headers(test), Authorization: `Bearer ${apiKey}` } });
        return (await client.chat({ model: 'm1', messages })).message.content;
    },
};
const tryingAgain = Object.entries(clients).filter(([client]) => client !== 'ollama');
// The AI SDK takes any 429 for a short one.
const attemptsWithoutQuota = (client) => (client === 'ai' ? 3 : 1);

// Each client and limit has a key of its own, since what counts is counted for the key.
const limits = {
    // One every three seconds: a machine has to be very slow for the second request to find the first one's place free.
    requests: { requests: '20r/m', burst: 0 },
    concurrency: { concurrency: 1 },
    quota: { quota: '10/total' },
};
const secretOf = (client, limit) => `sk-${client}-${limit}-0123456789`;
const keys = Object.keys(clients).flatMap((client) => Object.keys(limits).map((limit) => (
    { name: `${client}-${limit}`, key: secretOf(client, limit), limits: limits[limit] })));

let gateway;
before(async () => { gateway = await startGateway(keys); });
after(() => gateway?.stop());

const reached = (test) => gateway.upstream.seen.filter((request) => request.headers['x-test'] === test).length;

// One request without any client library.
function ask(secret, test, body) {
    return fetch(`${gateway.url}/chat/completions`, {
        method: 'POST', body: JSON.stringify({ model: 'm1', messages, ...body }),
        headers: { authorization: `Bearer ${secret}`, 'content-type': 'application/json', ...headers(test) },
    });
}

// The call got this refusal at first, and was let in in the end. Returns how often it was refused.
async function assertWaitedOut(test, refusal) {
    const attempts = await gateway.logged(test, 2);
    const last = attempts.pop();
    assert.deepEqual([last.status, last.outcome], ['200', 'ok']);
    assert.ok(attempts.length > 0, 'was refused at first');
    assert.deepEqual(attempts.map(({ status, refusal: why }) => ({ status, why })),
                     attempts.map(() => ({ status: '429', why: refusal })));
    assert.equal(reached(test), 1);
    return attempts.length;
}

describe('limits', { concurrency: true }, () => {
    for (const [client, call] of tryingAgain) {
        describe(client, { concurrency: true }, () => {
            test('waits until a rate of requests lets it in', async () => {
                const name = `${client}-requests`;
                const secret = secretOf(client, 'requests');
                assert.equal(await call(secret, `${name}-first`), text);
                assert.equal(await call(secret, name), text);
                const refused = await assertWaitedOut(name, 'requests');
                // LangChain does not look at Retry-After in this version, and tries again as it thinks fit.
                assert.ok(refused === 1 || client === 'langchain', `refused ${refused} times`);
            });

            test('tries again until another request has ended', async () => {
                const name = `${client}-concurrency`;
                const secret = secretOf(client, 'concurrency');
                const running = await ask(secret, `${name}-other`, { model: 'never-ends', stream: true });
                assert.equal(running.status, 200);

                const answer = call(secret, name);
                await Promise.race([gateway.logged(name), answer]);
                await running.body.cancel();
                assert.equal(await answer, text);
                await assertWaitedOut(name, 'concurrency');
            });

            test('gives up where the quota is spent', async () => {
                const name = `${client}-quota`;
                const secret = secretOf(client, 'quota');
                assert.equal((await ask(secret, `${name}-spend`)).status, 200);
                await gateway.logged(`${name}-spend`);

                const error = await call(secret, name).then(() => assert.fail('was let in'), (e) => e);
                const expected = attemptsWithoutQuota(client);
                const attempts = await gateway.logged(name, expected);
                assert.deepEqual(attempts.map(({ status, refusal, outcome }) => ({ status, refusal, outcome })),
                                 Array(expected).fill({ status: '429', refusal: 'quota', outcome: 'refused' }));
                assert.equal(reached(name), 0);

                if (client === 'ai') {
                    assert.deepEqual([error.name, error.lastError.statusCode, error.lastError.data.error.code],
                                     ['AI_RetryError', 429, 'insufficient_quota']);
                    return;
                }
                if (client === 'langchain') {
                    assert.equal(error.name, 'InsufficientQuotaError');
                    return;
                }
                assert.ok(error instanceof (client === 'openai' ? OpenAI : Anthropic).RateLimitError, String(error));
                assert.equal(error.headers.get('x-should-retry'), 'false');
                assert.equal(error.headers.get('retry-after'), null);
                const remaining = client === 'openai' ? 'x-ratelimit-remaining-tokens' : 'anthropic-ratelimit-tokens-remaining';
                assert.equal(error.headers.get(remaining), '0');
                if (client === 'openai') {
                    assert.deepEqual([error.code, error.type], ['insufficient_quota', 'insufficient_quota']);
                }
            });
        });
    }

    describe('ollama', { concurrency: true }, () => {
        for (const [limit, message] of [['requests', /Please try again in [1-3]s/], ['quota', /exceeded your current quota/]]) {
            test(`gives up at once: ${limit}`, async () => {
                const name = `ollama-${limit}`;
                const secret = secretOf('ollama', limit);
                assert.equal(await clients.ollama(secret, `${name}-first`), text);
                await gateway.logged(`${name}-first`);
                const error = await clients.ollama(secret, name).then(() => assert.fail('was let in'), (e) => e);
                assert.deepEqual([error.name, error.status_code], ['ResponseError', 429]);
                assert.match(error.message, message);
                assert.deepEqual((await gateway.logged(name)).map(({ refusal }) => refusal), [limit]);
                assert.equal(reached(name), 0);
            });
        }
    });
});
