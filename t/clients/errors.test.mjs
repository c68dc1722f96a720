// Each client raises the error that it has for the case: the gateway's refusals, nginx's errors, and the event that ends a stream.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import Anthropic from '@anthropic-ai/sdk';
import OpenAI from 'openai';

import { secrets, startGateway } from './gateway.mjs';

const messages = [{ role: 'user', content: 'Hi' }];

// How each API is asked: by one client, below a prefix.
const apis = {
    chat: {
        library: OpenAI,
        ask: (client, model, stream) => client.chat.completions.create({ model, messages, stream }),
    },
    responses: {
        library: OpenAI,
        ask: (client, model, stream) => client.responses.create({ model, input: 'Hi', stream }),
    },
    messages: {
        library: Anthropic,
        ask: (client, model, stream) => client.messages.create({ model, max_tokens: 16, messages, stream }),
    },
};

const keys = Object.keys(apis).map((api) => ({ name: api, key: `sk-${api}-0123456789`, limits: { quota: '1000/total' } }));

let gateway;
before(async () => { gateway = await startGateway(keys); });
after(() => gateway?.stop());

const failure = (promise) => promise.then(() => assert.fail('no error'), (error) => error);

for (const [name, { library, ask }] of Object.entries(apis)) {
    const anthropic = library === Anthropic;
    const clientOf = (apiKey, prefix, id, more) => new library({
        baseURL: `${gateway.root}${prefix}${anthropic ? '' : '/v1'}`, apiKey, defaultHeaders: { 'X-Test': id }, ...more,
    });
    const typeOf = (error) => (anthropic ? error.error.error.type : error.code);

    describe(name, () => {
        for (const [what, key, prefix, model, status, errorClass, type, attempts] of [
            ['a wrong key', 'sk-nobody', '', 'm1', 401, 'AuthenticationError', ['invalid_api_key', 'authentication_error'], 1],
            ['a model', secrets.limited, '', 'large', 404, 'NotFoundError', ['model_not_found', 'not_found_error'], 1],
            ['a path', secrets.good, '/nosuch', 'm1', 404, 'NotFoundError', [null, 'not_found_error'], 1],
            ['a large body', secrets.good, '/small', 'm1', 413, 'APIError', ['request_too_large', 'request_too_large'], 1],
            ['no upstream', secrets.good, '/down', 'm1', 502, 'InternalServerError', [null, 'api_error'], 2],
        ]) {
            test(what, async () => {
                const id = `${name}-${what}`;
                const error = await failure(ask(clientOf(key, prefix, id, { maxRetries: 1 }), model, false));
                assert.ok(error instanceof library[errorClass], String(error));
                assert.equal(error.status, status);
                assert.equal(typeOf(error), type[anthropic ? 1 : 0]);
                if (anthropic) {
                    assert.match(error.requestID, /^[0-9a-f]{32}$/);
                }
                assert.equal((await gateway.logged(id, attempts)).length, attempts);
            });
        }

        test('a stream that a hard limit ends', async () => {
            const id = `${name}-cut`;
            const stream = await ask(clientOf(`sk-${name}-0123456789`, '/hard', id, { maxRetries: 2 }), 'runs-on', true);
            let events = 0;
            const error = await failure((async () => {
                for await (const event of stream) {
                    events += event ? 1 : 0;
                }
            })());
            assert.ok(error instanceof library.APIError, String(error));
            assert.equal(typeOf(error), anthropic ? 'rate_limit_error' : 'insufficient_quota');
            assert.match(String(error.message), /exceeded your current quota/);
            assert.ok(events > 0, 'after what came before');
            const logged = await gateway.logged(id);
            assert.deepEqual(logged.map(({ status, outcome }) => [status, outcome]), [['200', 'cut']]);
        });
    });
}
