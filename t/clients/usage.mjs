// Each case asks twice, the upstream itself and the gateway, and the client has to see the same. The usage that it reports has to be
// what the upstream said, what the gateway's log has, and what was added to the counters of the key. Those are the case's own, and
// all cases run at the same time.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { startGateway } from './gateway.mjs';
import { text, thoughts, tool, usageOf } from './upstream/plan.mjs';

const secretOf = (name) => `sk-${name}-0123456789`;

// What a model's answer is, in one string: its reasoning, then its text or the arguments of its call.
export function answerOf(model) {
    const is = model.split('.');
    return (is.includes('reasons') ? thoughts.join('') : '') + (is.includes('tools') ? tool.json : text);
}

function assertNoUsage(parts) {
    assert.ok(parts.length > 0);
    for (const part of parts) {
        assert.equal('usage' in part, false, JSON.stringify(part));
        assert.notEqual(part.choices?.length, 0, JSON.stringify(part));
    }
}

// What the upstream is to get for what the client sent.
function bodyFor({ path, stream, inject = 'final' }, body) {
    if (!path.endsWith('/completions') || !stream || inject === 'off') {
        return body;
    }
    const more = inject === 'continuous' ? { continuous_usage_stats: true } : {};
    return { ...body, stream_options: { ...body.stream_options, include_usage: true, ...more } };
}

// A client that has asked for usage also gets the running counts of the chunk that ends a choice: some servers have them there only.
// What the client reports is compared by itself.
function withoutUsageAtEnds(parts) {
    const without = (part) => {
        if (Array.isArray(part)) {
            return part.map(without);
        }
        if (part === null || typeof part !== 'object') {
            return part;
        }
        return Object.fromEntries(Object.entries(part).filter(([name]) => name !== 'usage').map(([name, value]) => [name, without(value)]));
    };
    return parts.map((part) => (/"finish_reason":"/.test(JSON.stringify(part)) ? without(part) : part));
}

async function check(gateway, one) {
    const { name, path, stream = false, model = 'm1', inject = 'final', asks = true, shows, call } = one;
    const ask = (root) => call({ root, key: secretOf(name), headers: { 'X-Test': name }, model });
    const direct = await ask(`http://127.0.0.1:${gateway.upstream.port}`);
    const seen = await ask(inject === 'final' ? gateway.root : `${gateway.root}/${inject}`);

    assert.equal(direct.text, one.text ?? answerOf(model));
    if (stream && asks && inject === 'continuous') {
        for (const reply of [seen, direct]) {
            reply.parts = withoutUsageAtEnds(reply.parts);
        }
    }
    assert.deepEqual(seen, direct);
    const truth = usageOf(path, name);
    if (!asks) {
        assert.equal(seen.usage, undefined);
        assertNoUsage(seen.parts);
    } else if (shows) {
        const reported = JSON.parse(JSON.stringify(seen.usage));
        assert.deepEqual(reported, Object.fromEntries(shows.map((count) => [count, truth[count]])));
    }

    const bodies = gateway.upstream.seen.filter((request) => request.headers['x-test'] === name).map(({ body }) => JSON.parse(body));
    assert.deepEqual(bodies, [bodies[0], bodyFor(one, bodies[0])]);

    const [line] = await gateway.logged(name);
    const { status, key, model: asked, stream: streamed, outcome, refusal } = line;
    assert.deepEqual({ status, key, asked, streamed, outcome, refusal },
                     { status: '200', key: name, asked: model, streamed: stream ? '1' : '0', outcome: 'ok', refusal: '' });
    const [zone] = (await gateway.status()).zones;
    const counters = zone.keys.find((of) => of.name === name);
    assert.deepEqual([counters.requests, counters.in_flight], [1, 0]);
    if (!asks && inject === 'off') {
        assert.notEqual(line.source, 'upstream');
        return;
    }
    assert.equal(line.source, 'upstream');
    assert.deepEqual(Object.fromEntries(Object.keys(truth).map((count) => [count, Number(line[count])])), truth);
    assert.deepEqual({
        prompt: counters.prompt_tokens, cached: counters.cached_tokens, cacheWrite: counters.cache_write_tokens,
        completion: counters.completion_tokens, reasoning: counters.reasoning_tokens, total: counters.total_tokens,
    }, truth);
}

// A case:
//   name    its own
//   path    what the client asks
//   stream  that it streams
//   model   see planOf(). Default m1
//   inject  llm_usage_inject. Default final
//   asks    false: the client is to see no usage
//   shows   the counts that the client reports, by their names in usageOf(). Without it, it reports nothing
//   text    of the answer, where answerOf() does not say it
//   call    asks, by {root, key, headers, model}. Resolves to {text, usage, parts}: what the client reports, in the names of usageOf(),
//           and all that it has seen
export function testUsage(cases) {
    let gateway;
    before(async () => { gateway = await startGateway(cases.map(({ name }) => ({ name, key: secretOf(name) }))); });
    after(() => gateway?.stop());

    describe('usage', { concurrency: true }, () => {
        for (const one of cases) {
            test(one.name, () => check(gateway, one));
        }
    });
}
