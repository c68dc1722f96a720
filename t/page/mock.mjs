// Stands in for the gateway: the pages that the build made, and figures that move, as llm_status and llm_usage tell them.

import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';

const built = new URL('../../build/page/', import.meta.url);

export const markup = '<img src=x onerror=alert(1)>';

// The same figures in each run.
function randomOf(seed) {
    let state = seed;
    return (below) => {
        state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
        return Math.floor(state / 2 ** 32 * below);
    };
}

const models = ['qwen3-32b', 'llama-3.3-70b-instruct', 'gpt-oss-120b', 'mistral-small-24b', 'bge-m3'];
const names = ['alice', 'batch-nightly', 'open-webui', 'support-bot', 'search', 'ci', 'dana-laptop', 'evaluation', 'docs-assistant', 'research',
    'mobile-app', 'intern'];
const day = 86400;

function periodMs(period) {
    return { '1s': 1000, '1m': 60000, '1d': day * 1000, mo: 17 * day * 1000 }[period] ?? 0;
}

class Figures {
    constructor(keys, running) {
        this.random = randomOf(7);
        this.now = Math.floor(Date.now() / 1000);
        this.serial = 4711;
        this.running = [];
        this.rates = [];
        this.refusals = { requests: 412, tokens: 96, invalid_key: 31, model_not_found: 4 };
        this.outcomes = { ok: 48210, incomplete: 0, client_abort: 812, upstream_error: 23, cut: 9, refused: 543, lost: 0 };
        this.tokens = { prompt: 71e6, completion: 12.4e6 };
        this.sources = { upstream: 48002, partial: 301, estimated: 720, none: 31 };
        this.keys = Array.from({ length: keys }, (_, i) => this.#key(i));
        for (let second = this.now - 299; second <= this.now; second++) {
            this.#addRate(second);
        }
        for (let i = 0; i < running; i++) {
            this.start(names[i % names.length], models[i % 4], Date.now() - 1000 - this.random(90000));
        }
    }

    #key(i) {
        const total = Math.floor(9e6 / (i + 1) ** 0.8) + this.random(1000);
        const completion = Math.floor(total * (0.12 + this.random(20) / 100));
        const refused = i % 4 === 1 ? 5 + this.random(200) : 0;
        const limit = (what, period, maximum, used) => ({
            limit: what, period, maximum, remaining: Math.round(maximum * (1 - used)), reset_ms: Math.round(periodMs(period) * used),
        });
        const limits = [limit('requests', '1s', 20, this.random(60) / 100), limit('concurrency', null, 8, this.random(5) / 8),
            limit('tokens', '1m', 100000, this.random(100) / 100), limit('quota', 'mo', 2e7, Math.min(0.99, total / 1e7))];
        return {
            name: i === 5 ? markup : i < names.length ? names[i] : `key-${String(i).padStart(5, '0')}`,
            user: i === 5 ? `${markup}&amp;` : i < 3 ? 'ops' : `team-${i % 40}`, plan: i % 3 === 0 ? 'pro' : i % 3 === 1 ? 'basic' : '', in_flight: 0,
            requests: Math.floor(total / 900), prompt_tokens: total - completion, cached_tokens: 0, cache_write_tokens: 0,
            completion_tokens: completion, reasoning_tokens: 0, total_tokens: total, names: 1, refused,
            refusals: refused ? { requests: refused - 2, tokens: 2 } : {}, enabled: i !== 9, expires: i === 4 ? '2027-01-01T00:00:00Z' : null,
            limits: i % 5 === 3 ? [] : i % 5 === 2 ? limits.slice(0, 1) : limits,
        };
    }

    #addRate(second) {
        const wave = 1 + 0.5 * Math.sin(second / 37) + 0.2 * Math.sin(second / 11);
        const requests = Math.floor(14 * wave) + this.random(5);
        this.rates.push({
            second, requests, refused: this.random(9) === 0 ? this.random(4) : 0, prompt_tokens: requests * (700 + this.random(600)),
            completion_tokens: Math.floor(1900 * wave) + this.random(700),
        });
        this.rates = this.rates.slice(-300);
    }

    start(key, model, started = Date.now()) {
        const [speed, first, prompt] = [20 + this.random(60), 80 + this.random(400), 200 + this.random(9000)];
        const run = { serial: this.serial++, key, model, started, speed, first, prompt };
        this.running.push(run);
        return run;
    }

    end(run) {
        this.running = this.running.filter((one) => one !== run);
        this.outcomes.ok++;
    }

    #tick() {
        for (const now = Math.floor(Date.now() / 1000); this.now < now;) {
            this.#addRate(++this.now);
            const rate = this.rates.at(-1);
            this.outcomes.ok += rate.requests - rate.refused;
            this.outcomes.refused += rate.refused;
            this.refusals.requests += rate.refused;
            this.tokens.prompt += rate.prompt_tokens;
            this.tokens.completion += rate.completion_tokens;
            for (const key of this.keys.slice(0, 12)) {
                const more = this.random(900);
                key.requests++;
                key.total_tokens += more;
                key.completion_tokens += Math.floor(more / 5);
                key.prompt_tokens += more - Math.floor(more / 5);
            }
        }
    }

    #run(run, i) {
        const age = Math.max(0, Date.now() - run.started);
        return {
            serial: run.serial, place: i, key: run.key, user: 'ops', model: run.model, stream: true, pid: 4242, age_ms: age,
            time_to_first_token_ms: age > run.first ? run.first : null, peer: `10.0.0.${11 + i % 3}:8000`, prompt_tokens: run.prompt,
            completion_tokens: Math.floor(Math.max(0, age - run.first) / 1000 * run.speed),
        };
    }

    #model(name, i) {
        const share = 1 / 2 ** (i + 1);
        const times = (count, p50) => (count ? { count, sum: count * p50, p50, p95: Math.round(p50 * 3.4), p99: Math.round(p50 * 6.1) }
            : { count: 0, sum: 0, p50: null, p95: null, p99: null });
        const count = Math.floor(this.outcomes.ok * share);
        const embeds = i === 4;
        return {
            name, requests: { ...this.outcomes, ok: count, refused: 0, client_abort: 0 }, prompt_tokens: Math.floor(this.tokens.prompt * share),
            cached_tokens: 0, completion_tokens: embeds ? 0 : Math.floor(this.tokens.completion * share), reasoning_tokens: 0, cost: 1,
            in_flight: this.running.filter((run) => run.model === name).length, duration_ms: times(count, embeds ? 38 : 4200 + 900 * i),
            time_to_first_token_ms: times(embeds ? 0 : count, 140 + 70 * i), time_per_output_token_us: times(embeds ? 0 : count, 14200 + 5300 * i),
        };
    }

    // What llm_status tells.
    status(query) {
        this.#tick();
        const view = query.get('view');
        const zone = { name: 'llm', size: 33554432 };
        if (view !== 'keys') {
            const totals = {
                requests: this.outcomes, prompt_tokens: this.tokens.prompt, cached_tokens: 0, cache_write_tokens: 0,
                completion_tokens: this.tokens.completion, reasoning_tokens: 0, cost: 0,
            };
            Object.assign(zone, {
                bytes: { used: 4400000, free: 29154432 },
                parts: [{ name: 'requests', used: 512 * this.running.length, free: 4194304 }, { name: 'counters', used: 9000000, free: 3600000 },
                    { name: 'keys', used: 1300000, free: 4700000 }, { name: 'series', used: 2600000, free: 500000 },
                    { name: 'journal', used: 4096, free: 0 }],
                generation: 3, files: [{ path: '/etc/nginx/llm/keys.json', keys: this.keys.length }],
                leases: { running: this.running.length, capacity: 8136 }, rates: this.rates, totals, refusals: this.refusals,
                usage_sources: this.sources, models: models.map((name, i) => this.#model(name, i)),
                running: this.running.map((run, i) => this.#run(run, i)),
            });
        }
        if (view !== 'live') {
            const filter = (query.get('filter') ?? '').toLowerCase();
            const found = this.keys.filter((key) => key.name.toLowerCase().includes(filter) || key.user.toLowerCase().includes(filter));
            const by = { name: (a, b) => (a.name < b.name ? -1 : 1), requests: (a, b) => b.requests - a.requests };
            found.sort(by[query.get('sort')] ?? ((a, b) => b.total_tokens - a.total_tokens));
            const offset = Number(query.get('offset') ?? 0);
            zone.matched = found.length;
            zone.keys = found.slice(offset, offset + Number(query.get('limit') ?? 100))
                .map((key) => ({ ...key, in_flight: this.running.filter((run) => run.key === key.name).length }));
        }
        return { version: '0.1.0', now_ms: Date.now(), zones: [zone] };
    }

    // What llm_usage tells.
    usage() {
        const used = (since, n) => ({
            since, requests: 12 * n, prompt_tokens: 81234 * n, completion_tokens: 9123 * n, total_tokens: 90357 * n, cost: 90357 * n,
        });
        const today = used('2026-11-28T00:00:00Z', 1);
        const month = used('2026-11-01T00:00:00Z', 19);
        const key = this.keys[0];
        return {
            key: key.name, user: key.user, plan: key.plan, limits: key.limits, today, month,
            models: [...models.slice(0, 2), markup].map((name) => ({ name, today, month })),
        };
    }
}

// What a gateway tells that has no book: less.
function withoutBook(status) {
    const zones = status.zones.map(({ name, size, bytes, generation, files, leases, keys = [], running = [] }) => ({
        name, size, bytes, generation, files, leases, subjects: {}, users: [],
        keys: keys.map(({ name: key, in_flight, requests, prompt_tokens, completion_tokens, total_tokens }) => (
            { name: key, in_flight, requests, prompt_tokens, cached_tokens: 0, completion_tokens, total_tokens })),
        running: running.map(({ key, user, model, stream, pid, age_ms, prompt_tokens, completion_tokens }) => (
            { key, user, model, stream, pid, age_ms, prompt_tokens, completion_tokens })),
    }));
    return { version: status.version, zones };
}

// Options:
//   keys, running   how many
//   empty           a gateway that nobody has asked yet
//   book            false: as a gateway without one tells
//   zones           names of further zones, which nobody has used
//   known           it says that it knows without a key who asks
export class Mock {
    constructor({ keys = 12, running = 9, empty = false, book = true, zones = [], known = false } = {}) {
        this.figures = new Figures(empty ? 0 : keys, empty ? 0 : running);
        if (empty) {
            Object.assign(this.figures, { rates: [], refusals: {}, outcomes: {}, tokens: { prompt: 0, completion: 0 }, sources: {} });
        }
        this.empty = empty;
        this.book = book;
        this.zones = zones;
        this.known = known;
        this.isAllowed = known; // what is known may be a name that no key has any more
        this.seen = [];
        this.port = 0;
    }

    // Again after stop() it is at the same port.
    async start() {
        this.server = createServer((req, res) => this.#answer(req, res));
        this.server.listen(this.port, '127.0.0.1');
        await once(this.server, 'listening');
        this.port = this.server.address().port;
        this.origin = `http://127.0.0.1:${this.port}`;
        this.url = `${this.origin}/llm/`;
        this.usageUrl = `${this.origin}/v1/usage`;
        return this;
    }

    async #answer(req, res) {
        const url = new URL(req.url, this.origin);
        const isUsage = url.pathname === '/v1/usage';
        this.seen.push(req.url);
        if (req.headers.accept?.startsWith('text/html')) {
            const name = isUsage ? 'usage_page' : 'status_page';
            const [page, policy] = await Promise.all([readFile(new URL(`${name}.html`, built)), readFile(new URL(`${name}.policy`, built), 'utf8')]);
            res.writeHead(200, { 'content-type': 'text/html; charset=utf-8', 'content-security-policy': policy, 'cache-control': 'no-store' });
            res.end(isUsage && this.known ? page.toString().replace('\n<body', '\n<body data-known') : page);
            return;
        }
        const good = !isUsage || (req.headers.authorization ? req.headers.authorization === 'Bearer sk-good' : this.isAllowed);
        res.writeHead(good ? 200 : 401, { 'content-type': 'application/json' });
        res.end(JSON.stringify(good ? this.#data(isUsage, url) : { error: { message: `Wrong key ${markup}` } }));
    }

    #data(isUsage, url) {
        if (isUsage) {
            return this.figures.usage();
        }
        const status = this.figures.status(this.book ? url.searchParams : new URLSearchParams({ limit: this.figures.keys.length }));
        if (this.empty) {
            status.zones[0].rates = [];
            status.zones[0].models = [];
        }
        const unused = { matched: 0, keys: [], rates: [], models: [], running: [], refusals: {}, usage_sources: {}, totals: { requests: {} } };
        status.zones.push(...this.zones.map((name) => ({ ...status.zones[0], ...unused, name })));
        return this.book ? status : withoutBook(status);
    }

    startStream(key = 'alice', model = models[0]) {
        const run = this.figures.start(key, model);
        return { serial: run.serial, end: async () => this.figures.end(run) };
    }

    async stop() {
        this.server.closeAllConnections();
        this.server.close();
        await once(this.server, 'close');
    }
}
