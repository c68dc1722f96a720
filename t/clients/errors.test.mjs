// Each client raises the error that it has for the case: the gateway's refusals, nginx's errors, the event with which a hard limit
// ends a stream, and that with which the upstream does.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { createOpenAI } from '@ai-sdk/openai';
import Anthropic from '@anthropic-ai/sdk';
import { ChatOpenAI } from '@langchain/openai';
import { generateText, streamText } from 'ai';
import { Ollama } from 'ollama';
import OpenAI from 'openai';

import { secrets, startGateway } from './gateway.mjs';

const messages = [{ role: 'user', content: 'Hi' }];
const retries = 1;

// How to make each client, and what of its errors tells what it was.
const openai = {
    connect: (root, apiKey, defaultHeaders) => new OpenAI({ baseURL: `${root}/v1`, apiKey, defaultHeaders, maxRetries: retries }),
    attempts: 1 + retries,
    nameOf: (error) => error.constructor.name,
    typeOf: (error) => error.code,
};
const anthropic = {
    connect: (root, apiKey, defaultHeaders) => new Anthropic({ baseURL: root, apiKey, defaultHeaders, maxRetries: retries }),
    attempts: 1 + retries,
    nameOf: (error) => error.constructor.name,
    typeOf: (error) => error.error.error.type,
};
const ollama = {
    connect: (root, key, headers) => new Ollama({ host: root, headers: { ...headers, Authorization: `Bearer ${key}` } }),
    attempts: 1,
    nameOf: (error) => error.name,
    typeOf: (error) => error.message,
};

const apis = {
    chat: {
        library: openai,
        ask: (client, model, stream) => client.chat.completions.create({ model, messages, stream }),
    },
    completions: {
        library: openai,
        ask: (client, model, stream) => client.completions.create({ model, prompt: 'Hi', stream }),
    },
    responses: {
        library: openai,
        ask: (client, model, stream) => client.responses.create({ model, input: 'Hi', stream }),
    },
    messages: {
        library: anthropic,
        ask: (client, model, stream) => client.messages.create({ model, max_tokens: 16, messages, stream }),
    },
    ollamaChat: {
        library: ollama,
        ask: (client, model, stream) => client.chat({ model, messages, stream }),
    },
    ollamaGenerate: {
        library: ollama,
        ask: (client, model, stream) => client.generate({ model, prompt: 'Hi', stream }),
    },
};

const secretOf = (api) => `sk-${api}-0123456789`;
const keys = Object.keys(apis).map((api) => ({ name: api, key: secretOf(api), limits: { quota: '1000/total' } }));

let gateway;
before(async () => { gateway = await startGateway(keys); });
after(() => gateway?.stop());

const failure = (promise) => promise.then(() => assert.fail('no error'), (error) => error);

// What came until the stream raised an error.
async function untilFailure(stream) {
    const events = [];
    const error = await failure((async () => {
        for await (const event of stream) {
            events.push(event);
        }
    })());
    return { error, events };
}

async function assertEnded(id, outcome, attempts = 1) {
    const ended = (await gateway.logged(id, attempts)).map((line) => [line.status, line.outcome]);
    assert.deepEqual(ended, Array(attempts).fill(['200', outcome]));
}

const refusals = [{
    what: 'a wrong key', key: 'sk-nobody', status: 401,
    openai: ['AuthenticationError', 'invalid_api_key'],
    anthropic: ['AuthenticationError', 'authentication_error'],
    ollama: ['ResponseError', 'Incorrect API key provided.'],
}, {
    what: 'a model', key: secrets.limited, model: 'large', status: 404,
    openai: ['NotFoundError', 'model_not_found'],
    anthropic: ['NotFoundError', 'not_found_error'],
    ollama: ['ResponseError', 'The model `large` does not exist or you do not have access to it.'],
}, {
    what: 'a path', prefix: '/nosuch', status: 404,
    openai: ['NotFoundError', null],
    anthropic: ['NotFoundError', 'not_found_error'],
    ollama: ['ResponseError', 'There is no such path here.'],
}, {
    what: 'a large body', prefix: '/small', status: 413,
    openai: ['APIError', 'request_too_large'],
    anthropic: ['ContentTooLargeError', 'request_too_large'],
    ollama: ['ResponseError', 'The request body is too large.'],
}, {
    what: 'no upstream', prefix: '/down', status: 502, repeated: true,
    openai: ['InternalServerError', null],
    anthropic: ['InternalServerError', 'api_error'],
    ollama: ['ResponseError', 'The model server cannot be reached, or gave no valid answer.'],
}];

const libraries = { openai, anthropic, ollama };
const nameOf = (library) => Object.keys(libraries).find((name) => libraries[name] === library);

describe('errors', { concurrency: true }, () => {
    for (const [name, { library, ask }] of Object.entries(apis)) {
        const client = (id, { key = secrets.good, prefix = '' }) => library.connect(gateway.root + prefix, key, { 'X-Test': id });

        describe(name, { concurrency: true }, () => {
            for (const { what, model = 'm1', status, repeated, ...how } of refusals) {
                test(what, async () => {
                    const id = `${name}-${what}`;
                    const error = await failure(ask(client(id, how), model, false));
                    const [errorName, type] = how[nameOf(library)];
                    assert.deepEqual([library.nameOf(error), error.status ?? error.status_code, library.typeOf(error)],
                                     [errorName, status, type]);
                    if (library === anthropic) {
                        assert.match(error.requestID, /^[0-9a-f]{32}$/);
                    }
                    if (library !== ollama) {
                        assert.equal(error.headers.get('x-should-retry'), [401, 413].includes(status) ? 'false' : null);
                        assert.equal(error.headers.get('retry-after'), null);
                    }
                    const attempts = repeated ? library.attempts : 1;
                    assert.equal((await gateway.logged(id, attempts)).length, attempts);
                });
            }

            test('a stream that a hard limit ends', async () => {
                const id = `${name}-cut`;
                const stream = await ask(client(id, { key: secretOf(name), prefix: '/hard' }), 'runs-on', true);
                const { error, events } = await untilFailure(stream);
                const [errorName, type] = {
                    openai: ['APIError', 'insufficient_quota'], anthropic: ['APIError', 'rate_limit_error'],
                    ollama: ['Error', error.message],
                }[nameOf(library)];
                assert.deepEqual([library.nameOf(error), library.typeOf(error)], [errorName, type]);
                assert.match(String(error.message), /exceeded your current quota/);
                assert.ok(events.length > 0, 'after what came before');
                await assertEnded(id, 'cut');
            });

            test('a stream that the upstream ends with an error', async () => {
                const id = `${name}-broken`;
                const { error, events } = await untilFailure(await ask(client(id, {}), 'openai.breaks', true));
                assert.equal(library.nameOf(error), library === ollama ? 'Error' : 'APIError');
                assert.match(String(error.message), /EngineCore died/);
                assert.ok(events.length > 0, 'after what came before');
                await assertEnded(id, 'upstream_error');
            });
        });
    }
});

describe('a stream that the upstream ends with an error, to other clients', { concurrency: true }, () => {
    const headers = (id) => ({ 'X-Test': id });

    // The error as OpenAI documents it for Responses: its client gives it out as an event like any other.
    test('Responses', async () => {
        const id = 'responses-event';
        const events = [];
        for await (const event of await openai.connect(gateway.root, secrets.good, headers(id))
            .responses.create({ model: 'breaks', input: 'Hi', stream: true })) {
            events.push(event);
        }
        const { type, message } = events.at(-1);
        assert.deepEqual([type, message], ['error', 'EngineCore died']);
        await assertEnded(id, 'upstream_error');
    });

    test('the reader of Responses', async () => {
        const id = 'responses-reader';
        const client = openai.connect(gateway.root, secrets.good, headers(id));
        await failure(client.responses.stream({ model: 'breaks', input: 'Hi' }).finalResponse());
        await assertEnded(id, 'upstream_error');
    });

    for (const useResponsesApi of [false, true]) {
        const api = useResponsesApi ? 'responses' : 'chat';
        test(`LangChain, ${api}`, async () => {
            const id = `langchain-${api}`;
            const model = new ChatOpenAI({
                model: 'openai.breaks', apiKey: secrets.good, maxRetries: retries, useResponsesApi,
                configuration: { baseURL: gateway.url, defaultHeaders: headers(id) },
            });
            const { error, events } = await untilFailure(await model.stream('Hi'));
            assert.match(String(error.message), /EngineCore died/);
            assert.ok(events.length > 0, 'after what came before');
            await assertEnded(id, 'upstream_error');
        });
    }

    for (const [api, model] of [
        ['chat', 'breaks'], ['completion', 'breaks'], ['responses', 'breaks'], ['responses', 'openai.breaks'],
    ]) {
        test(`AI SDK, ${api}, ${model}`, async () => {
            const id = `ai-${api}-${model}`;
            const provider = createOpenAI({ baseURL: gateway.url, apiKey: secrets.good, headers: headers(id) });
            const result = streamText({ model: provider[api](model), prompt: 'Hi', maxRetries: retries, onError() {} });
            const parts = [];
            for await (const part of result.fullStream) {
                parts.push(part);
            }
            assert.ok(parts.some(({ type }) => type === 'text-delta'), 'after what came before');
            assert.match(JSON.stringify(parts.find(({ type }) => type === 'error').error), /EngineCore died/);
            await assertEnded(id, 'upstream_error');
        });
    }
});

test('AI SDK: a wrong key', async () => {
    const provider = createOpenAI({ baseURL: gateway.url, apiKey: 'sk-nobody', headers: { 'X-Test': 'ai-wrong' } });
    const error = await failure(generateText({ model: provider.chat('m1'), prompt: 'Hi', maxRetries: retries }));
    assert.deepEqual([error.name, error.statusCode, error.isRetryable, error.message],
                     ['AI_APICallError', 401, false, 'Incorrect API key provided.']);
    assert.equal((await gateway.logged('ai-wrong')).length, 1);
});
