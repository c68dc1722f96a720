// nginx with the module in a directory of its own, in front of a fake model server.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { EventEmitter, once } from 'node:events';
import { watch } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { startUpstream } from './upstream.mjs';

const proxySettings = fileURLToPath(new URL('../../conf-examples/llm_proxy.conf', import.meta.url));

export const secrets = {
    good: 'sk-good-0123456789',
    limited: 'sk-limited-0123456789',
    disabled: 'sk-disabled-0123456789',
    expired: 'sk-expired-0123456789',
};

const sha256 = (secret) => createHash('sha256').update(secret).digest('hex');

const keys = [
    { name: 'good-key', user: 'alice', sha256: sha256(secrets.good) },
    { name: 'limited-key', user: 'bob', sha256: sha256(secrets.limited), models: ['m1', 'small-*'] },
    { name: 'disabled-key', user: 'carol', sha256: sha256(secrets.disabled), enabled: false },
    { name: 'expired-key', user: 'carol', sha256: sha256(secrets.expired), expires: '2020-01-01T00:00:00Z' },
];

// Variables that each request's log line holds, by the name in it.
const logged = {
    test: 'http_x_test', status: 'status', uri: 'uri', authorization: 'http_authorization', key: 'llm_key', user: 'llm_user',
    model: 'llm_model', stream: 'llm_stream', prompt: 'llm_prompt_tokens', completion: 'llm_completion_tokens',
    cached: 'llm_cached_tokens', cacheWrite: 'llm_cache_write_tokens', reasoning: 'llm_reasoning_tokens',
    total: 'llm_total_tokens', source: 'llm_usage_source', outcome: 'llm_outcome', refusal: 'llm_refusal',
    firstToken: 'llm_time_to_first_token',
};

function configuration(dir, port, upstreamPort) {
    const format = Object.entries(logged).map(([name, variable]) => `"${name}":"$${variable}"`).join(',');
    return `
load_module ${process.env.LLM_MODULE};
${process.getuid() === 0 ? 'user root;' : ''}
daemon off;
worker_processes 1;
pid ${dir}/nginx.pid;
error_log ${dir}/error.log notice;
events { worker_connections 256; }
http {
    ${['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path ${dir}/${name};`).join(' ')}
    llm_zone llm:1m;
    llm_api_keys ${dir}/keys.json;
    log_format llm escape=json '{${format}}';
    access_log ${dir}/access.log llm;
    client_max_body_size 64m;
    client_body_buffer_size 16k;
    upstream model { server 127.0.0.1:${upstreamPort}; keepalive 4; }
    server {
        listen 127.0.0.1:${port};
        location ~ ^/(v1|v1beta|api)/ {
            include ${proxySettings};
            proxy_pass http://model;
        }
        location /continuous/ {
            llm_usage_inject continuous;
            include ${proxySettings};
            proxy_pass http://model/;
        }
        location /off/ {
            llm_usage_inject off;
            include ${proxySettings};
            proxy_pass http://model/;
        }
        location /hard/ {
            llm_limit quota=1000/total hard;
            include ${proxySettings};
            proxy_pass http://model/;
        }
        location /small/ {
            client_max_body_size 10;
            proxy_pass http://model/;
        }
        # A port that takes no connections: nobody listens on it.
        location /down/ { proxy_pass http://127.0.0.1:1/; }
        error_page 404 413 502 @llm_error;
        location @llm_error { llm_error; }
        location = /status { llm_api_keys off; llm_status; }
    }
}
`;
}

async function freePort() {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address();
    server.close();
    await once(server, 'close');
    return port;
}

// A file that grows by lines; `until` waits for what is to appear in it.
class GrowingFile {
    #changed = new EventEmitter();
    #path;
    #watcher;

    constructor(path) {
        this.#path = path;
        this.#watcher = watch(path, () => this.#changed.emit('change'));
    }

    text() {
        return readFile(this.#path, 'utf8');
    }

    async lines() {
        return (await this.text()).split('\n').slice(0, -1);
    }

    // Resolves to what `find` makes of the lines once that is not undefined.
    async until(find, signal) {
        for (;;) {
            const change = once(this.#changed, 'change', { signal });
            change.catch(() => {});
            const found = find(await this.lines());
            if (found !== undefined) {
                return found;
            }
            await change;
        }
    }

    close() {
        this.#watcher.close();
    }
}

// Ends what start() has begun, whether it came to an end or not.
class Gateway {
    #dir;
    #nginx;
    #exit;
    #stderr = '';
    #errors;
    #access;
    #port;

    async start(moreKeys, configure, upstream) {
        this.upstream = await upstream();
        this.#port = await freePort();
        this.root = `http://127.0.0.1:${this.#port}`;
        this.url = `${this.root}/v1`;

        const dir = await mkdtemp(join(tmpdir(), 'nginx-llm-clients-'));
        this.#dir = dir;
        await writeFile(join(dir, 'keys.json'), JSON.stringify({ keys: [...keys, ...moreKeys] }), { mode: 0o600 });
        await writeFile(join(dir, 'nginx.conf'), configure(dir, this.#port, this.upstream.port));
        await writeFile(join(dir, 'error.log'), '');
        await writeFile(join(dir, 'access.log'), '');
        this.#errors = new GrowingFile(join(dir, 'error.log'));
        this.#access = new GrowingFile(join(dir, 'access.log'));

        const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` };
        if (process.env.LLM_PRELOAD) {
            env.LD_PRELOAD = process.env.LLM_PRELOAD;
            env.ASAN_OPTIONS ??= 'detect_leaks=0'; // nginx does not give all back when it ends
        }
        this.#nginx = spawn(process.env.LLM_NGINX || 'nginx', ['-p', dir, '-e', join(dir, 'error.log'), '-c', join(dir, 'nginx.conf')],
                            { env, stdio: ['ignore', 'ignore', 'pipe'] });
        this.#nginx.stderr.on('data', (data) => { this.#stderr += data; });
        this.#exit = once(this.#nginx, 'exit');
        const dead = this.#exit.then(() => { throw new Error(`nginx did not start: ${this.#stderr}`); });
        const running = (lines) => lines.find((line) => line.includes('start worker process '));
        await Promise.race([dead, this.#errors.until(running, AbortSignal.timeout(30000))]);
        dead.catch(() => {});
    }

    get dir() {
        return this.#dir;
    }

    // The log lines of the requests that had this X-Test header, once there are `count`.
    logged(test, count = 1) {
        return this.#access.until((lines) => {
            const mine = lines.map((line) => JSON.parse(line)).filter((line) => line.test === test);
            return mine.length >= count ? mine : undefined;
        }, AbortSignal.timeout(30000));
    }

    // All log lines, once this is true of them.
    loggedAll(good) {
        return this.#access.until((lines) => {
            const all = lines.map((line) => JSON.parse(line));
            return good(all) ? all : undefined;
        }, AbortSignal.timeout(30000));
    }

    async status(path = '/status') {
        return (await fetch(`${this.root}${path}`)).json();
    }

    // Resolves once nothing is in flight any more, by the llm_status at this path.
    async idle(path) {
        for (;;) {
            const { zones: [{ running }] } = await this.status(path);
            if (running.length === 0) {
                return;
            }
            await new Promise((resolve) => { setTimeout(resolve, 20); });
        }
    }

    // Resolves once a request of this key is in flight that has had content, and `more` is true.
    async untilRunning(path, key, more) {
        for (;;) {
            const { zones: [{ running }] } = await this.status(path);
            if (running.some((one) => one.key === key && one.completion_tokens > 0) && more()) {
                return;
            }
            await new Promise((resolve) => { setTimeout(resolve, 20); });
        }
    }

    async stop() {
        this.#nginx?.kill('SIGTERM');
        await this.#exit?.catch(() => {});
        await this.upstream?.stop();
        const said = (await this.#errors?.text() ?? '') + this.#stderr;
        this.#errors?.close();
        this.#access?.close();
        if (this.#dir) {
            await rm(this.#dir, { recursive: true });
        }
        const bad = said.split('\n').filter((line) => /\[(alert|emerg|crit)\]|Sanitizer|runtime error/.test(line));
        assert.deepEqual(bad, []);
    }
}

// With these keys beside the usual ones. `configure` makes the text of nginx.conf, `upstream` starts what is behind it.
export async function startGateway(moreKeys = [], { configure = configuration, upstream = startUpstream } = {}) {
    const gateway = new Gateway();
    try {
        await gateway.start(moreKeys, configure, upstream);
    } catch (error) {
        await gateway.stop().catch(() => {});
        throw error;
    }
    return gateway;
}
