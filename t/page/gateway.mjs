// A real nginx with the module, in front of a model server that writes slowly, with load on it.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { Agent, createServer, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

import { markup } from './mock.mjs';

const proxySettings = fileURLToPath(new URL('../../conf-examples/llm_proxy.conf', import.meta.url));
const models = ['m1', 'm2', 'm3'];
const secretOf = (name) => `sk-${createHash('sha256').update(name).digest('hex')}`;
const sha256 = (secret) => createHash('sha256').update(secret).digest('hex');

const completion = (n) => ({ prompt_tokens: 100, completion_tokens: n, total_tokens: 100 + n });

// A stream goes on until `held` has no name of it any more; anything else is answered at once.
function answer(req, res, body, held) {
    const { stream, model, user } = JSON.parse(body);
    const head = { id: 'c', created: 1790000000, model };
    if (!stream) {
        res.setHeader('content-type', 'application/json');
        res.end(JSON.stringify({ ...head, object: 'chat.completion', usage: completion(20),
                                 choices: [{ index: 0, message: { role: 'assistant', content: 'yes' }, finish_reason: 'stop' }] }));
        return;
    }
    res.setHeader('content-type', 'text/event-stream');
    const event = (more) => `data: ${JSON.stringify({ ...head, object: 'chat.completion.chunk', ...more })}\n\n`;
    let tokens = 0;
    const timer = setInterval(() => {
        if (held.has(user)) {
            tokens++;
            res.write(event({ choices: [{ index: 0, delta: { content: ' and' } }], usage: completion(tokens) }));
            return;
        }
        clearInterval(timer);
        res.write(event({ choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] }));
        res.write(event({ choices: [], usage: completion(tokens) }));
        res.end('data: [DONE]\n\n');
    }, 30);
    res.on('close', () => clearInterval(timer));
}

async function listen(server) {
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return server.address().port;
}

async function freePort() {
    const server = createServer();
    const port = await listen(server);
    server.close();
    await once(server, 'close');
    return port;
}

export class Gateway {
    #held = new Set();
    #agent = new Agent({ keepAlive: true, maxSockets: 64 });
    #said = '';
    #loading = null;
    #streams = 0;

    constructor({ keys = 50 } = {}) {
        this.names = ['alice', markup, ...Array.from({ length: keys - 2 }, (_, i) => `key-${String(i + 2).padStart(5, '0')}`)];
    }

    async start() {
        this.model = createServer(async (req, res) => {
            const chunks = [];
            for await (const chunk of req) {
                chunks.push(chunk);
            }
            answer(req, res, Buffer.concat(chunks).toString(), this.#held);
        });
        const modelPort = await listen(this.model);
        this.port = await freePort();
        this.origin = `http://127.0.0.1:${this.port}`;
        this.url = `${this.origin}/llm/`;
        this.usageUrl = `${this.origin}/v1/usage`;
        this.dir = await mkdtemp(join(tmpdir(), 'nginx-llm-page-'));
        const keys = this.names.map((name, i) => ({ name, user: i === 1 ? `${markup}&amp;` : `team-${i % 40}`, sha256: sha256(secretOf(name)),
                                                     ...(i % 2 === 0 && { plan: 'pro' }) }));
        const pro = { requests: '1000r/s', concurrency: 8, tokens: '10m/m', quota: '100m/mo' };
        await writeFile(join(this.dir, 'keys.json'), JSON.stringify({ plans: { pro }, keys }), { mode: 0o600 });
        await writeFile(join(this.dir, 'passwords'), ['alice', 'nobody'].map((name) => `${name}:{PLAIN}${name}'s password\n`).join(''));
        await writeFile(join(this.dir, 'nginx.conf'), this.#configuration(modelPort));
        this.nginx = spawn(process.env.LLM_NGINX || 'nginx', ['-p', this.dir, '-e', 'stderr', '-c', join(this.dir, 'nginx.conf')],
                           { env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` }, stdio: ['ignore', 'ignore', 'pipe'] });
        this.exit = once(this.nginx, 'exit');
        await new Promise((resolve, reject) => {
            this.nginx.stderr.on('data', (data) => {
                this.#said += data;
                if (this.#said.includes('start worker process ')) {
                    resolve();
                }
            });
            this.exit.then(() => reject(new Error(`nginx did not start: ${this.#said}`)));
        });
        return this;
    }

    #configuration(modelPort) {
        return `
load_module ${process.env.LLM_MODULE};
${process.getuid() === 0 ? 'user root;' : ''}
daemon off;
worker_processes 2;
pid ${this.dir}/nginx.pid;
error_log stderr notice;
events { worker_connections 1024; }
http {
    ${['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path ${this.dir}/${name};`).join(' ')}
    access_log off;
    llm_zone llm:64m;
    llm_api_keys ${this.dir}/keys.json;
    upstream model { server 127.0.0.1:${modelPort}; keepalive 64; keepalive_timeout 4s; }
    server {
        listen 127.0.0.1:${this.port};
        keepalive_requests 100000;
        location /v1/ {
            include ${proxySettings};
            proxy_pass http://model;
        }
        location /llm/ { llm_api_keys off; llm_status; }
        location = /v1/usage {
            auth_basic models;
            auth_basic_user_file ${this.dir}/passwords;
            llm_api_keys ${this.dir}/keys.json identity=$remote_user;
            llm_usage;
        }
    }
}
`;
    }

    async #ask(key, body, signal) {
        const asked = request(`${this.origin}/v1/chat/completions`, {
            method: 'POST', agent: this.#agent, signal, headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
        });
        asked.end(JSON.stringify({ messages: [{ role: 'user', content: 'go on' }], ...body }));
        const [response] = await once(asked, 'response');
        response.resume();
        await once(response, 'close');
        return response.statusCode;
    }

    // One request with each key.
    async useAllKeys() {
        const waiting = [...this.names];
        const workers = Array.from({ length: 32 }, async () => {
            for (let name = waiting.pop(); name !== undefined; name = waiting.pop()) {
                assert.equal(await this.#ask(secretOf(name), { model: models[name.length % 3] }), 200);
            }
        });
        await Promise.all(workers);
    }

    // From now on: good requests, and now and then one with a wrong key.
    startLoad() {
        this.#loading = new AbortController();
        const { signal } = this.#loading;
        this.loaded = (async () => {
            for (let n = 0; !signal.aborted; n++) {
                await this.#ask(n % 10 === 9 ? 'sk-wrong' : secretOf(this.names[n % 10]), { model: models[n % 3] });
                await pause(20);
            }
        })();
    }

    // It runs until it is ended.
    startStream(key = 'alice', model = models[0]) {
        const user = `stream ${++this.#streams}`;
        this.#held.add(user);
        const done = this.#ask(secretOf(key), { model, stream: true, user });
        done.catch(() => {});
        return {
            end: async () => {
                this.#held.delete(user);
                assert.equal(await done, 200);
            },
        };
    }

    async status(query = '') {
        return (await fetch(`${this.url}${query}`)).json();
    }

    async stop() {
        this.#loading?.abort();
        await this.loaded;
        this.#held.clear();
        this.#agent.destroy();
        this.nginx?.kill('SIGTERM');
        await this.exit;
        this.model.closeAllConnections();
        this.model.close();
        await rm(this.dir, { recursive: true });
        assert.deepEqual(this.#said.split('\n').filter((line) => /\[(alert|emerg|crit)\]|Sanitizer|runtime error/.test(line)), []);
    }
}
