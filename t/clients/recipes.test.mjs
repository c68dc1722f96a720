// The recipes of conf-examples through the clients that they are for; above all those that talk to hosted APIs over TLS.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';

import Anthropic from '@anthropic-ai/sdk';
import { Ollama } from 'ollama';
import OpenAI, { AzureOpenAI } from 'openai';

import { secrets, startGateway } from './gateway.mjs';
import { certify, recipe, tryFirstKey, withGateway } from './recipe.mjs';
import { startUpstream } from './upstream.mjs';
import { text } from './upstream/plan.mjs';

const messages = [{ role: 'user', content: 'hi' }];
const hosts = ['api.openai.com', 'api.mistral.ai', 'example.openai.azure.com', 'llm.example.com'];

const dir = mkdtempSync(join(tmpdir(), 'nginx-llm-recipes-'));
const right = certify(dir, 'right', hosts);
const wrong = certify(dir, 'wrong', ['api.example.net']);
after(() => rmSync(dir, { recursive: true }));

const headersNamed = ({ rawHeaders }, name) => rawHeaders.filter((_, at) => at % 2 === 1 && rawHeaders[at - 1].toLowerCase() === name);

const hosted = [
    {
        name: 'openai', host: 'api.openai.com', header: 'authorization', value: 'Bearer account-secret', path: '/v1/chat/completions',
        client: (gateway, apiKey, more) => new OpenAI({ baseURL: gateway.url, apiKey, ...more }),
    },
    {
        name: 'mistral', host: 'api.mistral.ai', header: 'authorization', value: 'Bearer account-secret', path: '/v1/chat/completions',
        client: (gateway, apiKey, more) => new OpenAI({ baseURL: gateway.url, apiKey, ...more }),
    },
    {
        name: 'azure', host: 'example.openai.azure.com', header: 'api-key', value: 'account-secret',
        path: '/openai/deployments/m1/chat/completions?api-version=2024-10-21',
        client: (gateway, apiKey, more) => new AzureOpenAI({ endpoint: gateway.root, apiKey, apiVersion: '2024-10-21', ...more }),
    },
];

for (const { name, host, header, value, path, client } of hosted) {
    describe(`${name}.conf`, () => {
        // The gateway believes in the authority of `right`; what is behind it shows this certificate.
        const options = (certificate) => ({
            upstream: () => startUpstream(certificate),
            configure: recipe(name, {
                changes: (port) => ({ [`server ${host}:443;`]: `server 127.0.0.1:${port};`, '/etc/ssl/certs/ca-certificates.crt': right.certFile }),
                files: { [`llm/${name}_key.conf`]: `proxy_set_header ${header} "${value}";\n` },
            }),
        });

        test('one account behind the keys of a team', () => withGateway(options(right), async (gateway) => {
            const openai = client(gateway, secrets.good);
            const reply = await openai.chat.completions.create({ model: 'm1', messages });
            assert.equal(reply.choices[0].message.content, text);
            let said = '';
            for await (const chunk of await openai.chat.completions.create({ model: 'm1', messages, stream: true })) {
                said += chunk.choices[0]?.delta.content ?? '';
            }
            assert.equal(said, text);

            assert.equal(gateway.upstream.seen.length, 2);
            for (const seen of gateway.upstream.seen) {
                assert.deepEqual(headersNamed(seen, 'host'), [host]);
                assert.deepEqual(headersNamed(seen, header), [value]);
                assert.equal(JSON.stringify(seen.rawHeaders).includes(secrets.good), false);
                for (const about of ['x-forwarded-for', 'x-real-ip', 'forwarded']) {
                    assert.deepEqual(headersNamed(seen, about), [], 'nothing of who the client is');
                }
                assert.equal(seen.url, path);
            }
            const lines = await gateway.loggedAll((all) => all.length === 2);
            assert.equal(lines[0].key, 'good-key');
            assert.ok(lines.every((line) => line.outcome === 'ok' && line.model === 'm1'), JSON.stringify(lines));
            assert.equal(lines[0].usage_source, 'upstream');
            assert.equal(await tryFirstKey(gateway), 200);
        }));

        test('who has no key of the team', () => withGateway(options(right), async (gateway) => {
            await assert.rejects(client(gateway, 'account-secret').chat.completions.create({ model: 'm1', messages }), OpenAI.AuthenticationError);
            assert.deepEqual(gateway.upstream.seen, []);
        }));

        test('somebody in between', () => withGateway(options(wrong), async (gateway) => {
            const call = client(gateway, secrets.good, { maxRetries: 0 }).chat.completions.create({ model: 'm1', messages });
            await assert.rejects(call, (error) => error.status === 502 && error.type === 'server_error');
            assert.deepEqual(gateway.upstream.seen, [], 'gets no key');
        }));
    });
}

test('azure.conf: the paths without a deployment', () => withGateway({
    upstream: () => startUpstream(right),
    configure: recipe('azure', {
        changes: (port) => ({
            'server example.openai.azure.com:443;': `server 127.0.0.1:${port};`, '/etc/ssl/certs/ca-certificates.crt': right.certFile }),
        files: { 'llm/azure_key.conf': 'proxy_set_header api-key "account-secret";\n' },
    }),
}, async (gateway) => {
    const openai = new OpenAI({ baseURL: `${gateway.root}/openai/v1`, apiKey: secrets.good });
    assert.equal((await openai.responses.create({ model: 'm1', input: 'hi' })).output_text, text);
    assert.equal(gateway.upstream.seen[0].url, '/openai/v1/responses');
}));

describe('fallback.conf', () => {
    let own;
    let gateway;
    let openai;
    let answer; // what the own server does
    before(async () => {
        own = await startUpstream();
        const server = createServer((req, res) => answer(req, res));
        server.listen(0, '127.0.0.1');
        await once(server, 'listening');
        own.front = server;
        gateway = await startGateway([], {
            upstream: () => startUpstream(right),
            configure: recipe('fallback', {
                changes: (port) => ({
                    'server 127.0.0.1:8000 max_fails=3': `server 127.0.0.1:${server.address().port} max_fails=0`,
                    'server api.openai.com:443;': `server 127.0.0.1:${port};`, 'llm_model qwen3-32b': 'llm_model m1',
                    '/etc/ssl/certs/ca-certificates.crt': right.certFile,
                }),
                files: { 'llm/hosted_key.conf': 'proxy_set_header Authorization "Bearer account-secret";\n' },
            }),
        });
        openai = new OpenAI({ baseURL: gateway.url, apiKey: secrets.good, maxRetries: 0 });
    });
    after(async () => {
        await gateway?.stop();
        own?.front.closeAllConnections();
        own?.front.close();
        await own?.stop();
    });

    // It passes on what it gets.
    const works = (req, res) => {
        req.pipe(request({ port: own.port, path: req.url, method: req.method, headers: req.headers }, (reply) => {
            res.writeHead(reply.statusCode, reply.headers);
            reply.pipe(res);
        }));
    };
    const ask = async () => {
        let said = '';
        for await (const chunk of await openai.chat.completions.create({ model: 'm1', messages, stream: true })) {
            said += chunk.choices[0]?.delta.content ?? '';
        }
        return said;
    };

    test('the own server, as long as it works', async () => {
        answer = works;
        assert.equal(await ask(), text);
        assert.equal(gateway.upstream.seen.length, 0);
    });

    const downs = {
        'it breaks off': (req) => req.socket.destroy(),
        'it is loading': (req, res) => res.writeHead(503, { 'content-type': 'application/json' }).end('{"error":{"message":"Loading model"}}'),
    };
    for (const [how, down] of Object.entries(downs)) {
        test(`the account, when ${how}`, async () => {
            answer = down;
            const before = gateway.upstream.seen.length;
            assert.equal(await ask(), text);
            const seen = gateway.upstream.seen.slice(before);
            assert.equal(seen.length, 1);
            assert.equal(seen[0].url, '/v1/chat/completions');
            assert.equal(JSON.parse(seen[0].body).model, 'gpt-4o-mini', 'by its own name');
            assert.deepEqual(headersNamed(seen[0], 'host'), ['api.openai.com']);
            assert.deepEqual(headersNamed(seen[0], 'authorization'), ['Bearer account-secret']);
        });
    }

    test('the account, when nobody is there', async () => {
        own.front.closeAllConnections();
        await new Promise((resolve) => { own.front.close(resolve); });
        assert.equal(await ask(), text);
        const lines = await gateway.loggedAll((all) => all.length === 4);
        assert.ok(lines.every((line) => line.status === '200' && line.key === 'good-key' && line.outcome === 'ok'), JSON.stringify(lines));
        assert.ok(lines.every((line) => Number(line.completion_tokens) > 0), 'each is counted, once');
        const { zones: [{ keys: [key] }] } = await gateway.status('/llm/status');
        assert.equal(key.requests, 4);
        assert.equal(key.total_tokens, lines.reduce((sum, line) => sum + Number(line.prompt_tokens) + Number(line.completion_tokens), 0));
    });

    test('a model that nobody has', async () => {
        const before = gateway.upstream.seen.length;
        await assert.rejects(openai.chat.completions.create({ model: 'm2', messages }), OpenAI.NotFoundError);
        assert.equal(gateway.upstream.seen.length, before);
        assert.deepEqual((await openai.models.list()).data.map(({ id }) => id), ['m1']);
        assert.equal(await tryFirstKey(gateway), 200);
    });
});

test('tls.conf', async () => {
    const free = await startUpstream();
    const port80 = free.port;
    await free.stop();
    await withGateway({
        configure: recipe('tls', {
            listen: 'listen 443 ssl http2;',
            changes: (port) => ({
                'server 127.0.0.1:8000;': `server 127.0.0.1:${port};`, 'listen 80;': `listen 127.0.0.1:${port80};`,
                '/etc/letsencrypt/live/llm.example.com/fullchain.pem': right.certFile,
                '/etc/letsencrypt/live/llm.example.com/privkey.pem': right.keyFile,
            }),
        }),
    }, async (gateway) => {
        // Node reads NODE_EXTRA_CA_CERTS when it starts.
        const script = `import OpenAI from 'openai';
            const openai = new OpenAI({ baseURL: '${gateway.url.replace('http:', 'https:')}', apiKey: '${secrets.good}', maxRetries: 0 });
            const reply = await openai.chat.completions.create({ model: 'm1', messages: [{ role: 'user', content: 'hi' }] });
            process.stdout.write(reply.choices[0].message.content);`;
        const run = (env) => promisify(execFile)(process.execPath, ['--input-type=module', '-e', script], { env: { ...process.env, ...env } });
        assert.equal((await run({ NODE_EXTRA_CA_CERTS: right.certFile })).stdout, text);
        await assert.rejects(run({ NODE_EXTRA_CA_CERTS: wrong.certFile }), /APIConnectionError/);
        assert.equal(gateway.upstream.seen.length, 1);

        const plain = new OpenAI({ baseURL: `http://127.0.0.1:${port80}/v1`, apiKey: secrets.good, maxRetries: 0 });
        await assert.rejects(plain.chat.completions.create({ model: 'm1', messages }), OpenAI.NotFoundError);
        assert.equal(gateway.upstream.seen.length, 1, 'nothing goes on from port 80');
        assert.equal(await tryFirstKey(gateway, { CURL_CA_BUNDLE: right.certFile }), 200);
    });
});

test('anthropic.conf', () => withGateway({ configure: recipe('anthropic') }, async (gateway) => {
    for (const auth of [{ apiKey: secrets.good }, { apiKey: null, authToken: secrets.good }]) {
        const anthropic = new Anthropic({ baseURL: gateway.root, maxRetries: 0, ...auth });
        const stream = anthropic.messages.stream({ model: 'm1', max_tokens: 32, messages });
        assert.equal(await stream.finalText(), text);
        assert.equal((await anthropic.messages.countTokens({ model: 'm1', messages })).input_tokens, 7);
    }
    const stranger = new Anthropic({ baseURL: gateway.root, apiKey: 'sk-wrong', maxRetries: 0 });
    await assert.rejects(stranger.messages.create({ model: 'm1', max_tokens: 32, messages }), Anthropic.AuthenticationError);
}));

test('ollama.conf', () => withGateway({
    configure: recipe('ollama', { changes: (port) => ({ 'server 127.0.0.1:11434;': `server 127.0.0.1:${port};` }) }),
}, async (gateway) => {
    const ollama = new Ollama({ host: gateway.root, headers: { Authorization: `Bearer ${secrets.good}` } });
    let said = '';
    for await (const part of await ollama.chat({ model: 'm1', messages, stream: true })) {
        said += part.message.content;
    }
    assert.equal(said, text);
    assert.equal((await ollama.list()).models[0].name, 'm1');
    assert.ok(gateway.upstream.seen.every((seen) => seen.headers.host === 'localhost'));
    const before = gateway.upstream.seen.length;
    await assert.rejects(ollama.pull({ model: 'm1' }), (error) => error.status_code === 404);
    await assert.rejects(ollama.delete({ model: 'm1' }), (error) => error.status_code === 404);
    await assert.rejects(ollama.create({ model: 'm2', from: 'm1' }), (error) => error.status_code === 404);
    assert.equal(gateway.upstream.seen.length, before);
}));
