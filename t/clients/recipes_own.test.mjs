// The recipes for model servers of one's own, through the clients that they are for: which server gets what, and who is who.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';

import OpenAI from 'openai';
import { OpenAIRealtimeWS } from 'openai/realtime/ws';
import { WebSocket, WebSocketServer } from 'ws';

import { secrets, startGateway } from './gateway.mjs';
import { certify, recipe, withGateway } from './recipe.mjs';
import { startUpstream } from './upstream.mjs';
import { text } from './upstream/plan.mjs';

const messages = [{ role: 'user', content: 'hi' }];
const secretOf = (name) => `sk-${name}-0123456789`;
const keyOf = (name, more) => ({ name, sha256: createHash('sha256').update(secretOf(name)).digest('hex'), ...more });
const clientOf = (gateway, apiKey, more) => new OpenAI({ baseURL: gateway.url, apiKey, maxRetries: 0, ...more });

// What a stream says.
async function said(openai, model) {
    let all = '';
    for await (const chunk of await openai.chat.completions.create({ model, messages, stream: true })) {
        all += chunk.choices[0]?.delta.content ?? '';
    }
    return all;
}

const modelsOf = ({ seen }) => seen.map(({ body }) => JSON.parse(body).model);

// A recipe with a server at each of the ports 8000 and 8001.
async function withTwoServers(name, { keys, changes = {} }, use) {
    const second = await startUpstream();
    try {
        await withGateway({
            keys,
            configure: recipe(name, {
                changes: (port) => ({ 'server 127.0.0.1:8000': `server 127.0.0.1:${port}`, 'server 127.0.0.1:8001': `server 127.0.0.1:${second.port}`, ...changes }),
            }),
        }, (gateway) => use(gateway, gateway.upstream, second));
    } finally {
        await second.stop();
    }
}

test('several-models.conf', () => withTwoServers('several-models', { keys: [keyOf('search', { models: ['bge-m3'] })] }, async (gateway, chats, embeddings) => {
    const openai = clientOf(gateway, secrets.good);
    assert.equal(await said(openai, 'qwen3-32b'), text);
    assert.equal(await said(openai, 'gpt-4o-mini'), text, 'a name that a client has built in');
    assert.equal((await openai.responses.create({ model: 'gpt-4o', input: 'hi' })).output_text, text);
    assert.ok((await openai.embeddings.create({ model: 'bge-m3', input: 'hi' })).data.length > 0);
    assert.deepEqual(modelsOf(chats), ['qwen3-32b', 'qwen3-32b', 'qwen3-32b']);
    assert.deepEqual(modelsOf(embeddings), ['bge-m3']);

    await assert.rejects(openai.chat.completions.create({ model: 'gpt-5', messages }),
                         (error) => error instanceof OpenAI.NotFoundError && error.code === 'model_not_found');
    const search = clientOf(gateway, secretOf('search'));
    await assert.rejects(search.chat.completions.create({ model: 'qwen3-32b', messages }), OpenAI.NotFoundError);
    assert.equal(chats.seen.length + embeddings.seen.length, 4, 'neither was asked of anybody');
    const listed = async (client) => (await client.models.list()).data.map(({ id }) => id).sort();
    assert.deepEqual(await listed(openai), ['bge-m3', 'qwen3-32b']);
    assert.deepEqual(await listed(search), ['bge-m3']);
    assert.equal((await openai.models.retrieve('qwen3-32b')).id, 'qwen3-32b');
}));

const many = Array.from({ length: 12 }, (_, i) => `k${i}`);

test('ab-by-key.conf', () => withTwoServers('ab-by-key', { keys: ['alice', 'batch', ...many].map((name) => keyOf(name)) }, async (gateway, old, fresh) => {
    // Which of them a key comes to.
    const sideOf = async (name) => {
        const counts = [old, fresh].map(({ seen }) => seen.length);
        assert.equal(await said(clientOf(gateway, secretOf(name)), 'assistant'), text);
        return ['old', 'new'].filter((_, i) => [old, fresh][i].seen.length > counts[i]).join();
    };
    assert.equal(await sideOf('alice'), 'new', 'by hand');
    assert.equal(await sideOf('batch'), 'old');
    const sides = [];
    for (const name of many) {
        sides.push(await sideOf(name));
    }
    assert.deepEqual([...new Set(sides)].sort(), ['new', 'old'], 'both have some');
    for (const [i, name] of many.entries()) {
        assert.equal(await sideOf(name), sides[i], 'the same again');
    }
    const openai = clientOf(gateway, secretOf('alice'));
    assert.deepEqual((await openai.models.list()).data.map(({ id }) => id), ['assistant']);
    await assert.rejects(openai.chat.completions.create({ model: 'old', messages }), OpenAI.NotFoundError, 'nobody can choose');
}));

// The lot decides by chance, so the test asks until both have been asked.
test('canary.conf', () => withTwoServers('canary', { changes: { '5% canary_server': '50% canary_server' } }, async (gateway, stable, canary) => {
    const openai = clientOf(gateway, secrets.good);
    assert.equal(await said(openai, 'canary'), text);
    assert.deepEqual(modelsOf(canary), ['qwen3-32b'], 'who asks for it by name');
    for (let n = 0; (stable.seen.length === 0 || canary.seen.length === 1) && n < 20; n++) {
        assert.equal(await said(openai, 'qwen3-32b'), text);
    }
    assert.ok(stable.seen.length > 0 && canary.seen.length > 1, 'and some of the others');
    await canary.stop();
    const before = stable.seen.length;
    assert.equal(await said(openai, 'canary'), text, 'nobody notices that it is down');
    assert.equal(stable.seen.length, before + 1);
}));

test('open-webui.conf', () => withGateway({
    keys: [keyOf('open-webui', { user_from: 'X-OpenWebUI-User-Email' }), keyOf('carol', { user: 'carol' })], configure: recipe('open-webui'),
}, async (gateway) => {
    // What the application sends for each of its people.
    const of = (name, secret = secretOf('open-webui')) => clientOf(gateway, secret, {
        defaultHeaders: { 'X-OpenWebUI-User-Name': name, 'X-OpenWebUI-User-Id': `id-${name}`, 'X-OpenWebUI-User-Email': `${name}@example.com`, 'X-OpenWebUI-User-Role': 'user' },
    });
    const [alice, bob] = ['alice', 'bob'].map((name) => of(name));
    const streams = [];
    for (let i = 0; i < 3; i++) {
        streams.push(await alice.chat.completions.create({ model: 'runs-on', messages, stream: true }));
    }
    await assert.rejects(alice.chat.completions.create({ model: 'm1', messages }), OpenAI.RateLimitError, 'one of them has enough');
    assert.equal(await said(bob, 'm1'), text, 'another does not notice');
    assert.equal(await said(of('alice', secretOf('carol')), 'm1'), text, 'who has a key of their own is themselves');
    streams.forEach((stream) => stream.controller.abort());
    await gateway.idle('/llm/status');
    assert.equal(await said(alice, 'm1'), text);
    const lines = await gateway.loggedAll((all) => all.length === 7);
    const users = {};
    for (const { user } of lines) {
        users[user] = (users[user] ?? 0) + 1;
    }
    assert.deepEqual(users, { 'alice@example.com': 5, 'bob@example.com': 1, carol: 1 });
    assert.deepEqual([...new Set(lines.map(({ key }) => key))].sort(), ['carol', 'open-webui']);
}));

// A model server of the Realtime API, which says what it is asked to.
async function startRealtime() {
    const server = createServer((_, res) => res.writeHead(404).end());
    const sockets = new WebSocketServer({ server, path: '/v1/realtime' });
    const seen = [];
    sockets.on('connection', (socket, request) => {
        const send = (event) => socket.send(JSON.stringify(event));
        seen.push({ url: request.url, headers: request.headers });
        send({ type: 'session.created', session: { type: 'realtime' } });
        socket.on('message', (data) => {
            const { type, response } = JSON.parse(data);
            assert.equal(type, 'response.create');
            send({ type: 'response.output_text.delta', delta: response.instructions });
            send({ type: 'response.done', response: { status: 'completed' } });
        });
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return {
        port: server.address().port,
        seen,
        async stop() {
            sockets.clients.forEach((socket) => socket.terminate());
            server.closeAllConnections();
            server.close();
            await once(server, 'close');
        },
    };
}

describe('websocket.conf', () => {
    const dir = mkdtempSync(join(tmpdir(), 'nginx-llm-websocket-'));
    let gateway, certificate, url;
    const open = [];
    // OpenAI's client asks over TLS only.
    const connect = (secret) => new OpenAIRealtimeWS({ model: 'm1', options: { ca: certificate.cert } }, new OpenAI({ baseURL: url, apiKey: secret }));
    const refused = async (realtime) => (await realtime.emitted('error')).message;
    before(async () => {
        certificate = certify(dir, 'gateway', ['llm.example.com']);
        gateway = await startGateway([], { upstream: startRealtime, configure: recipe('websocket', { certificate }) });
        url = gateway.url.replace('http:', 'https:');
    });
    after(async () => {
        await gateway?.stop();
        rmSync(dir, { recursive: true });
    });

    test('a conversation, and another beside it', async () => {
        for (const instructions of ['Say hello.', 'Grüße \u{1F680}']) {
            const realtime = connect(secrets.good);
            open.push(realtime);
            await realtime.emitted('session.created');
            const [delta, done] = [realtime.emitted('response.output_text.delta'), realtime.emitted('response.done')];
            realtime.send({ type: 'response.create', response: { instructions } });
            assert.equal((await delta).delta, instructions);
            assert.equal((await done).response.status, 'completed');
        }
        for (const { url: path, headers } of gateway.upstream.seen) {
            assert.equal(path, '/v1/realtime?model=m1');
            assert.equal(headers.authorization, undefined, 'the key is for the gateway');
        }
    });

    test('each holds its place', async () => {
        assert.match(await refused(connect(secrets.good)), /: 429/);
        open.forEach((realtime) => realtime.close());
        await gateway.loggedAll((all) => all.filter(({ status }) => status === '101').length === 2);
        const realtime = connect(secrets.good);
        await realtime.emitted('session.created');
        realtime.close();
    });

    test('who has no key', async () => {
        const before = gateway.upstream.seen.length;
        assert.match(await refused(connect('sk-wrong')), /: 401/);
        // Where browsers put it.
        const socket = new WebSocket(`${url.replace('https:', 'wss:')}/realtime?model=m1`, ['realtime', `openai-insecure-api-key.${secrets.good}`],
                                     { ca: certificate.cert });
        const [error] = await once(socket, 'error');
        assert.match(error.message, /: 401/);
        assert.equal(gateway.upstream.seen.length, before);
    });
});
