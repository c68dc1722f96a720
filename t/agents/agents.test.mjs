// Coding agents through conf-examples/recipes/coding-agents.conf: what a person meets who sets one up, is let in, and is refused.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, before, describe, test } from 'node:test';

import { startGateway } from '../clients/gateway.mjs';
import { recipe } from '../clients/recipe.mjs';
import { agents, removeHomes, run } from './agent.mjs';
import { startModel } from './model.mjs';

const names = Object.keys(agents);
const short = (name) => name.toLowerCase().replace(' ', '-');
const secretOf = (name, what) => `sk-${short(name)}-${what}-0123456789`;
const sha256 = (secret) => createHash('sha256').update(secret).digest('hex');
const keyOf = (name, what, limits) => ({ name: `${short(name)}-${what}`, user: short(name), sha256: sha256(secretOf(name, what)), limits });

// One request at once and one more every three seconds: a step after a tool comes too early.
const keys = names.flatMap((name) => [
    keyOf(name, 'plain', {}),
    keyOf(name, 'short', { requests: '20r/m', burst: 0 }),
    keyOf(name, 'spent', { quota: '1000/total' }),
    keyOf(name, 'abort', {}),
]);

describe('coding agents', { concurrency: 1 }, () => {
    let gateway;
    before(async () => { gateway = await startGateway(keys, { configure: recipe('coding-agents'), upstream: startModel }); });
    after(async () => {
        await gateway?.stop();
        await removeHomes();
    });

    // Lets it do its work with this key; what it wrote, how it ended, and how the log saw its requests.
    async function session(name, what, prompt, use = (agent) => agent.done) {
        const before = (await gateway.loggedAll(() => true)).length;
        const agent = await run(name, prompt, { root: gateway.root, key: secretOf(name, what) });
        try {
            const ended = await use(agent);
            // Those that are still on their way to the log are of this agent too: it has ended.
            await gateway.idle('/llm/status');
            const lines = (await gateway.loggedAll(() => true)).slice(before);
            return { ...ended, lines, agent, written: await agent.file('out.txt').catch(() => null) };
        } finally {
            await agent.remove();
        }
    }

    const statuses = ({ lines }) => lines.map((line) => line.status);
    const say = (t, seen) => t.diagnostic(`exit ${seen.code ?? seen.signal}; ${seen.lines.map(
        (line) => `${line.uri} ${line.status}${line.refusal ? ` ${line.refusal}` : ''}`).join(', ')}`);
    const fail = (seen) => `${seen.output}\n${JSON.stringify(seen.lines)}`;

    for (const name of names) {
        describe(name, { concurrency: 1 }, () => {
            test('a right key', async (t) => {
                const seen = await session(name, 'plain', 'Say hello.');
                say(t, seen);
                assert.equal(seen.code, 0, fail(seen));
                assert.match(seen.output, /Hello from the model\./);
                assert.ok(seen.lines.some((line) => line.uri === agents[name].path), fail(seen));
                for (const line of seen.lines) {
                    assert.equal(line.status, '200', fail(seen));
                    assert.equal(line.key, `${short(name)}-plain`);
                }
                const own = seen.lines.find((line) => line.uri === agents[name].path);
                assert.deepEqual([own.model, own.prompt_tokens, own.completion_tokens, own.outcome], ['qwen3-coder', '1200', '34', 'ok']);
                for (const { headers, body } of gateway.upstream.seen) {
                    assert.equal(/sk-[a-z-]+-0123456789/.test(JSON.stringify(headers) + body), false, 'the key goes no further');
                }
            });

            test('a tool call', async (t) => {
                const seen = await session(name, 'plain', 'Please [tool echo sum-$((40+2)) | tee out.txt]');
                say(t, seen);
                assert.equal(seen.code, 0, fail(seen));
                assert.equal(seen.written, 'sum-42\n');
                assert.match(seen.output, /The tool said: [^]*sum-42/);
                assert.ok(seen.lines.length >= 2 && statuses(seen).every((status) => status === '200'), fail(seen));
            });

            test('a wrong key', async (t) => {
                const seen = await session(name, 'wrong', 'Say hello.');
                say(t, seen);
                assert.match(seen.output, /401|[Ii]ncorrect API key|[Aa]uthenticat/, fail(seen));
                assert.deepEqual([...new Set(statuses(seen))], ['401'], fail(seen));
                // x-should-retry: false holds it back from trying for minutes.
                assert.ok(seen.lines.length <= 8, fail(seen));
            });

            test('a short limit', async (t) => {
                const seen = await session(name, 'short', 'Please [tool echo sum-$((40+2)) | tee out.txt]');
                say(t, seen);
                assert.equal(seen.code, 0, fail(seen));
                assert.match(seen.output, /The tool said: [^]*sum-42/);
                assert.ok(seen.lines.some((line) => line.refusal === 'requests' && line.status === '429'), fail(seen));
            });

            test('a spent quota', async (t) => {
                // One that does not give up would try for minutes.
                const atMost = async (agent) => {
                    const early = await Promise.race([agent.done, new Promise((resolve) => { setTimeout(resolve, 60000).unref(); })]);
                    if (!early) {
                        agent.interrupt();
                    }
                    return { ...await agent.done, early: Boolean(early) };
                };
                const first = await session(name, 'spent', 'Say hello.', atMost);
                const seen = await session(name, 'spent', 'Say hello.', atMost);
                say(t, seen);
                assert.ok(statuses(first).includes('200'));
                assert.ok(seen.early, `it does not give up: ${fail(seen)}`);
                assert.match(seen.output, /[Qq]uota/, 'it says why');
                assert.ok(seen.lines.length > 0 && seen.lines.length <= 2, fail(seen));
                assert.ok(seen.lines.every((line) => line.status === agents[name].spent && line.refusal === 'quota'), fail(seen));
            });

            test('an abort', async (t) => {
                const before = gateway.upstream.seen.length;
                const hanging = () => gateway.upstream.seen.slice(before).filter(({ body }) => body.includes('[hang]'));
                const seen = await session(name, 'abort', 'Please [hang] and do not stop.', async (agent) => {
                    await gateway.untilRunning('/llm/status', `${short(name)}-abort`, () => hanging().length > 0);
                    agent.interrupt();
                    return agent.done;
                });
                say(t, seen);
                // The model server sees it end, the gateway counts what was written, and nothing is left in flight.
                await Promise.all(hanging().map(({ closed }) => closed));
                assert.ok(seen.lines.some((line) => line.outcome === 'client_abort' && Number(line.completion_tokens) > 0), fail(seen));
            });
        });
    }
});
